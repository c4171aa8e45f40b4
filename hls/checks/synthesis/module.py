# SPDX-License-Identifier: Apache-2.0
"""LLVM IR as text, read into functions, blocks and instructions with their source lines.

llvmlite's objects show neither a comparison's predicate nor debug locations, so the text is read:
LLVM prints it in one regular form, one instruction a line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

NAME = r'%(?:"[^"]*"|[-\w.$]+)'
GLOBAL = r'@(?:"[^"]*"|[-\w.$]+)'
INTEGER = re.compile(r"-?\d+$|true$|false$")
WORDS = {"true": 1, "false": 0}


@dataclass(eq=False)
class Instruction:
    """`operands`: names of values (%x, @y) or constants as text, in order; blocks not included."""

    name: str  # "" without a result
    opcode: str
    type: str  # of the result; of the stored value for store
    operands: list[str]
    block: Block
    text: str
    debug: str = ""  # metadata number of the location
    detail: str = ""  # predicate, called function, source element type
    targets: list[str] = field(default_factory=list)  # blocks: of br and switch, or of phi's edges
    types: list[str] = field(default_factory=list)  # of GEP's indices and call's arguments


@dataclass(eq=False)
class Block:
    name: str
    function: Function
    instructions: list[Instruction] = field(default_factory=list)
    loop: str = ""  # metadata number on the terminator

    @property
    def terminator(self) -> Instruction:
        return self.instructions[-1]

    @property
    def successors(self) -> list[str]:
        return self.terminator.targets if self.terminator.opcode in ("br", "switch") else []


@dataclass(eq=False)
class Function:
    name: str
    parameters: list[str]
    types: list[str]  # of the parameters
    hidden: int  # parameters that the source does not have (a result in memory)
    debug: str
    module: Module
    blocks: dict[str, Block] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)  # memory to its DILocalVariable

    @cached_property
    def values(self) -> dict[str, Instruction]:
        return {
            one.name: one
            for block in self.blocks.values()
            for one in block.instructions
            if one.name
        }

    @cached_property
    def predecessors(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.blocks}
        for block in self.blocks.values():
            for target in dict.fromkeys(block.successors):
                found[target].append(block.name)
        return found


@dataclass(eq=False)
class Module:
    functions: dict[str, Function]
    layout: dict[str, str]  # named types
    metadata: dict[str, str]
    globals: dict[str, str]  # to their DIGlobalVariableExpression

    def location(self, number: str) -> tuple[str, int] | None:
        """File and line of a DILocation, innermost of what was inlined."""
        text = self.metadata.get(number, "")
        line = re.search(r"line: (\d+)", text)
        scope = re.search(r"scope: (!\d+)", text)
        if not text.startswith("!DILocation") or scope is None:
            return None
        return self._file(scope.group(1)), int(line.group(1)) if line else 0

    def _file(self, scope: str) -> str:
        while scope in self.metadata:
            text = self.metadata[scope]
            if text.startswith("!DIFile"):
                name = re.search(r'filename: "([^"]*)"', text)
                return name.group(1) if name else ""
            found = re.search(r"file: (!\d+)", text) or re.search(r"scope: (!\d+)", text)
            if found is None:
                break
            scope = found.group(1)
        return ""

    def loop_location(self, number: str) -> tuple[str, int] | None:
        """Where a loop of `!llvm.loop` metadata begins."""
        for inner in re.findall(r"!\d+", self.metadata.get(number, "")):
            if inner != number and self.metadata.get(inner, "").startswith("!DILocation"):
                return self.location(inner)
        return None

    def size(self, kind: str) -> int:
        """Bytes of a type in memory."""
        return self._layout(kind)[0]

    def _layout(self, kind: str) -> tuple[int, int]:
        kind = kind.strip()
        if kind == "ptr":
            return 8, 8
        if re.fullmatch(r"i\d+", kind):
            bits = int(kind[1:])
            size = 1
            while 8 * size < min(bits, 64):
                size *= 2
            return (size, size) if bits <= 64 else (8 * -(-bits // 64), 8)
        array = re.fullmatch(r"\[(\d+) x (.*)\]", kind)
        if array:
            size, align = self._layout(array.group(2))
            return int(array.group(1)) * size, align
        if kind.startswith("<{"):
            return sum(self.size(one) for one in split(kind[2:-2])), 1
        if kind.startswith("{"):
            total, widest = 0, 1
            for one in split(kind[1:-1]):
                size, align = self._layout(one)
                total = -(-total // align) * align + size
                widest = max(widest, align)
            return -(-total // widest) * widest, widest
        return self._layout(self.layout[kind]) if kind in self.layout else (8, 8)

    def field_offset(self, kind: str, index: int) -> tuple[int, str]:
        """Byte offset and type of a struct's field."""
        body = self.layout.get(kind, kind)
        packed = body.startswith("<{")
        total = 0
        for place, one in enumerate(split(body[2:-2] if packed else body[1:-1])):
            size, align = self._layout(one)
            total = total if packed else -(-total // align) * align
            if place == index:
                return total, one.strip()
            total += size
        raise IndexError(f"{kind} has no field {index}")


def split(text: str) -> list[str]:
    """Parts between commas outside all brackets and quotes."""
    parts, depth, quoted, last = [], 0, False, 0
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif char in "([{<":
            depth += 1
        elif char in ")]}>":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[last:at].strip())
            last = at + 1
    rest = text[last:].strip()
    return [*parts, rest] if rest else parts


def _value(text: str) -> str:
    """The value of `type value`."""
    found = re.search(
        rf"({NAME}|{GLOBAL}|-?\d+|true|false|null|poison|undef|zeroinitializer)$", text
    )
    return found.group(1) if found else text


def _typed(text: str) -> tuple[str, str]:
    """Type and value of `type attributes value`."""
    value = _value(text)
    rest = text[: len(text) - len(value)].strip()
    kind = re.match(rf"(i\d+|ptr|void|\[.*\]|\{{.*\}}|{NAME})", rest)
    return (kind.group(1) if kind else rest), value


def plain_name(mangled: str) -> str:
    """A function's name without its namespaces; an operator's stays mangled."""
    start = re.match(r"_ZN?[VK]*(?=\d)", mangled)
    if start is None:
        return mangled
    at, parts = start.end(), []
    while digits := re.match(r"\d+", mangled[at:]):
        begin = at + digits.end()
        at = begin + int(digits.group(0))
        parts.append(mangled[begin:at])
    return parts[-1]


FLAGS = r"(?:(?:nuw|nsw|exact|disjoint|nneg|samesign|inbounds|volatile|nusw|fast) )*"


def _call(one: Instruction, rest: str) -> None:
    found = re.match(rf"(.*?)({GLOBAL}|{NAME}|asm .*?)\((.*)\)", rest)
    if found is None:
        return
    one.type = re.sub(
        r"^(?:fastcc |noundef |range\([^)]*\) |zeroext |signext )*", "", found.group(1).strip()
    )
    one.detail = found.group(2)[1:]
    for argument in split(found.group(3)):
        kind, value = _typed(argument)
        if kind != "metadata":
            one.types.append(kind)
            one.operands.append(value)


def _branch(one: Instruction, rest: str) -> None:
    one.targets = [name[1:] for name in re.findall(rf"label ({NAME})", rest)]
    condition = re.match(rf"(i\d+) ({NAME}|-?\d+|true|false)", rest)
    if condition:
        one.operands = [condition.group(2)]


def _phi(one: Instruction, rest: str) -> None:
    one.type = rest[: rest.index(" [ ")] if " [ " in rest else rest
    for value, block in re.findall(rf"\[ (.*?), ({NAME}) \]", rest):
        one.operands.append(value)
        one.targets.append(block[1:])


def _fill(one: Instruction, rest: str) -> None:
    """The parts of an instruction after its opcode."""
    rest = re.sub(rf"^{FLAGS}", "", rest)
    parts = split(rest)
    if one.opcode == "call":
        _call(one, rest)
    elif one.opcode in ("br", "switch"):
        _branch(one, rest)
    elif one.opcode == "phi":
        _phi(one, rest)
    elif one.opcode == "alloca":
        one.type, one.detail = "ptr", parts[0]
    elif one.opcode == "load":
        one.type, one.operands = parts[0], [_value(parts[1])]
    elif one.opcode == "store":
        one.type, value = _typed(parts[0])
        one.operands = [value, _value(parts[1])]
    elif one.opcode == "getelementptr":
        one.type = "ptr"
        one.detail = re.sub(r"^(?:inrange\([^)]*\) |inbounds |nuw |nusw )*", "", parts[0])
        for part in parts[1:]:
            kind, value = _typed(part)
            one.types.append(kind)
            one.operands.append(value)
    elif one.opcode in ("icmp", "fcmp"):
        one.detail = rest.split()[0]
        one.type = "i1"
        kind, first = _typed(rest[len(one.detail) + 1 :].rsplit(", ", 1)[0])
        one.types = [kind]
        one.operands = [first, _value(parts[-1])]
    elif " to " in rest and len(parts) == 1:
        source, one.type = rest.rsplit(" to ", 1)
        kind, value = _typed(source)
        one.types, one.operands = [kind], [value]
    elif one.opcode == "select":
        one.type = _typed(parts[1])[0]
        one.operands = [_value(part) for part in parts]
    elif parts:
        one.type = _typed(parts[0])[0]
        one.operands = [_value(part) for part in parts]


def _instruction(line: str, block: Block) -> Instruction:
    text = line.strip()
    debug = re.search(r", !dbg (!\d+)", text)
    loop = re.search(r", !llvm\.loop (!\d+)", text)
    if loop:
        block.loop = loop.group(1)
    bare = re.sub(r"(?:, ![\w.]+ !\d+)+(?: #\d+)?$", "", text)
    bare = re.sub(r" #\d+$", "", re.sub(r"(?:, ![\w.]+ !\d+)+$", "", bare))
    found = re.match(rf"(?:({NAME}) = )?(?:tail |musttail |notail )?(\w+)\s*(.*)$", bare, re.DOTALL)
    assert found is not None, line
    name, opcode, rest = found.groups()
    one = Instruction(name or "", opcode, "", [], block, bare, debug.group(1) if debug else "")
    _fill(one, rest)
    return one


def _header(line: str, module: Module) -> Function:
    found = re.match(rf"define .*?({GLOBAL})\((.*)\) ([^()]*(?:\([^)]*\)[^()]*)*)\{{$", line)
    assert found is not None, line
    parameters = split(found.group(2))
    debug = re.search(r"!dbg (!\d+)", found.group(3))
    return Function(
        found.group(1)[1:],
        [_value(one) for one in parameters],
        [_typed(one)[0] for one in parameters],
        sum("sret(" in one for one in parameters),
        debug.group(1) if debug else "",
        module,
    )


def read(text: str) -> Module:
    """A module's text as LLVM prints it."""
    module = Module({}, {}, {}, {})
    function: Function | None = None
    block: Block | None = None
    pending = ""
    for line in text.split("\n"):
        if function is None:
            kind = re.match(rf"({NAME}) = type (.*)$", line)
            static = re.match(rf"({GLOBAL}) = .*!dbg (!\d+)", line)
            data = re.match(r"(!\d+) = (?:distinct )?(!.*)$", line)
            if kind:
                module.layout[kind.group(1)] = kind.group(2)
            elif static:
                module.globals[static.group(1)] = static.group(2)
            elif data:
                module.metadata[data.group(1)] = data.group(2)
            elif line.startswith("define "):
                function = _header(line, module)
                module.functions[function.name] = function
            continue
        if line == "}":
            function = block = None
            continue
        label = re.match(r'("[^"]*"|[-\w.$]+):', line)
        if label:
            block = Block(label.group(1), function)
            function.blocks[block.name] = block
            continue
        declared = re.match(rf"\s*#dbg_declare\(ptr ({NAME}), (!\d+),", line)
        if declared:
            function.declared[declared.group(1)] = declared.group(2)
        if not line.strip() or line.lstrip().startswith(("#dbg", ";")):
            continue
        if pending:
            pending += " " + line.strip()
            if line.strip().startswith("]"):
                assert block is not None
                block.instructions.append(_instruction(pending, block))
                pending = ""
            continue
        if line.rstrip().endswith("[") and " switch " in line:
            pending = line
            continue
        assert block is not None
        block.instructions.append(_instruction(line, block))
    return module
