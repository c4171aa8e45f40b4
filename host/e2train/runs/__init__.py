# SPDX-License-Identifier: Apache-2.0
"""The run folder'\''s format, which the trainer writes and the reports read."""
