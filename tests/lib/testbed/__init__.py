# SPDX-License-Identifier: GPL-2.0-or-later
"""The test bed's virtual machines: what they are made of, and how to drive them."""
