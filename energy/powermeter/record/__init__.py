# SPDX-License-Identifier: Apache-2.0
"""Recordings: a meter'\''s raw bytes on disk, as they come."""
