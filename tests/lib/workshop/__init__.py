# SPDX-License-Identifier: GPL-2.0-or-later
"""What the build and test-bed scripts share: the cache, apt, processes, messages."""
