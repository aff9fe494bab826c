/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people see of smmu-rasctl: colour, pager, tables. */
#ifndef SMMU_RAS_CTL_OUTPUT_H
#define SMMU_RAS_CTL_OUTPUT_H

#include "util.h"

enum color {
	COLOR_NONE,
	COLOR_BAD,  /* somebody is needed */
	COLOR_BUSY, /* it is being dealt with */
	COLOR_GOOD,
	COLOR_FAINT, /* of little interest */
	COLOR_HEAD,
};

/*
 * The escape sequence that begins @color, COLOR_NONE to end it; "" where colour is not wanted:
 * on what is no terminal, with NO_COLOR, TERM=dumb, or SYSTEMD_COLORS=0 (systemctl(1)).
 */
const char *color(enum color color);

/*
 * Sends what is printed from now on through $SYSTEMD_PAGER, $PAGER or less(1), if stdout is a
 * terminal and @wanted. pager_close() waits for its end; without a pager it only flushes.
 */
void pager_open(bool wanted);
void pager_close(void);

/* Columns of the terminal, also when a pager stands between; 0 for no limit. $COLUMNS wins. */
unsigned int output_columns(void);

/* How many columns @s takes, as str_visible() made it. */
size_t text_width(const char *s);

/* Prints @text in lines of at most the terminal's width, each but the first behind @indent blanks.
 */
void print_wrapped(const char *text, unsigned int indent);

#define TABLE_COLUMNS_MAX 12

/* One way to make a table narrower: column @column down to @width columns, or away with 0. */
struct table_fit {
	unsigned int column;
	unsigned int width;
};

struct table {
	const char *const *heads;
	unsigned int n_columns;
	const struct table_fit *fits; /* tried in this order until the table fits */
	unsigned int n_fits;
	char **cells; /* as str_visible() made them, row after row */
	enum color *colors;
	size_t n_cells;
	size_t size;
	bool no_memory;
};

/* Adds the next cell, row by row; @text may be anything, and "" becomes "-". */
void table_add(struct table *table, enum color color, const char *text);
/* Prints it. Returns false when memory was short, and then part of it may be missing. */
bool table_print(struct table *table, bool legend);
void table_clear(struct table *table);

#endif
