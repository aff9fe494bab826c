// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl-output.h"

#include <errno.h>
#include <langinfo.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "host.h"

static pid_t pager;
/* What stdout is, before a pager takes its place. */
static int terminal = -1;
static unsigned int terminal_columns;

static const char *env(const char *name)
{
	const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe) */

	return value ? value : "";
}

/* One thread, and nothing here changes the environment but for the pager's. */
static bool on_terminal(void)
{
	if (terminal < 0)
		terminal = isatty(STDOUT_FILENO);
	return terminal > 0;
}

unsigned int output_columns(void)
{
	static bool asked;
	struct winsize size = {0};
	char *end = NULL;
	unsigned long columns;

	if (asked)
		return terminal_columns;
	asked = true;
	columns = strtoul(env("COLUMNS"), &end, 10);
	if (on_terminal() && end && *end == '\0' && columns > 0 && columns < 10000)
		terminal_columns = (unsigned int)columns;
	else if (on_terminal() && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		terminal_columns = size.ws_col;
	return terminal_columns;
}

static const char *const off[] = {"0", "no", "off", "false", "n", "f"};

static bool is_word(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (streq(word, words[i]))
			return true;
	return false;
}

static bool want_color(void)
{
	static const char *const on[] = {"1", "yes", "on", "true", "y", "t", "16", "256", "24bit"};
	const char *wanted = env("SYSTEMD_COLORS");

	if (is_word(wanted, off, ARRAY_SIZE(off)))
		return false;
	if (is_word(wanted, on, ARRAY_SIZE(on)))
		return true;
	return on_terminal() && env("NO_COLOR")[0] == '\0' && !streq(env("TERM"), "dumb");
}

const char *color(enum color color)
{
	static const char *const codes[] = {
		[COLOR_NONE] = "\x1b[0m",      [COLOR_BAD] = "\x1b[0;1;31m",
		[COLOR_BUSY] = "\x1b[0;1;33m", [COLOR_GOOD] = "\x1b[0;1;32m",
		[COLOR_FAINT] = "\x1b[0;2m",   [COLOR_HEAD] = "\x1b[0;1m",
	};
	static int wanted = -1;

	if (wanted < 0)
		wanted = want_color();
	return wanted ? codes[color] : "";
}

/* --- pager ------------------------------------------------------------------------------------ */

static void pager_run(bool secure)
{
	const char *options = env("SYSTEMD_LESS");
	const char *wanted = env("SYSTEMD_PAGER");

	/* Quit if it fits, colours, no wrapping, leave it on the screen, show what is missing. */
	setenv("LESS", options[0] ? options : "FRSXMK", 1); /* NOLINT(concurrency-mt-unsafe) */
	if (secure)
		setenv("LESSSECURE", "1", 1); /* NOLINT(concurrency-mt-unsafe) */
	if (wanted[0] == '\0')
		wanted = env("PAGER");
	/* Another pager may not know how to keep a user from running commands as root. */
	if (wanted[0] && !secure)
		execl("/bin/sh", "sh", "-c", wanted, (char *)NULL);
	execlp("less", "less", (char *)NULL);
	/* more(1) runs what is typed behind a "!". */
	if (!secure)
		execlp("more", "more", (char *)NULL);
	execlp("cat", "cat", (char *)NULL);
	_exit(EXIT_FAILURE);
}

/* Who logged in, as the kernel remembers it through sudo(8) and all others; or UINT32_MAX. */
static uint32_t login_uid(void)
{
	char path[64];
	char text[16] = "";
	char *end;
	unsigned long uid;
	FILE *f;

	snprintf(path, sizeof(path), "%s/self/loginuid", host_dir(HOST_PROC));
	f = fopen(path, "re");
	if (!f)
		return UINT32_MAX;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	uid = strtoul(text, &end, 10);
	return end == text || uid > UINT32_MAX ? UINT32_MAX : (uint32_t)uid;
}

/*
 * A pager lets its user run programs. Who was given this one command, by sudo(8), doas(1), run0(1)
 * or pkexec(1), was not given a shell of that user: of root, and whenever the user is another one
 * than has logged in, the pager may run nothing. $SYSTEMD_PAGERSECURE says otherwise, as it does
 * for systemctl(1); none of those lets it through unless told to.
 */
static bool pager_must_be_secure(void)
{
	const char *said = env("SYSTEMD_PAGERSECURE");
	uint32_t login = login_uid();

	if (said[0])
		return !is_word(said, off, ARRAY_SIZE(off));
	return geteuid() == 0 || geteuid() != getuid() ||
	       (login != UINT32_MAX && login != geteuid());
}

void pager_open(bool wanted_at_all)
{
	bool secure = pager_must_be_secure();
	const char *wanted = env("SYSTEMD_PAGER");
	int fds[2];

	if (!wanted_at_all || pager || !on_terminal() || streq(env("TERM"), "dumb"))
		return;
	if (wanted[0] == '\0')
		wanted = env("PAGER");
	if (streq(wanted, "cat") || (getenv("SYSTEMD_PAGER") && wanted[0] == '\0'))
		return; /* NOLINT(concurrency-mt-unsafe) */
	(void)output_columns();
	(void)color(COLOR_NONE);
	if (pipe(fds) < 0)
		return;
	pager = fork();
	if (pager == 0) {
		dup2(fds[0], STDIN_FILENO);
		close(fds[0]);
		close(fds[1]);
		pager_run(secure);
	}
	if (pager > 0)
		dup2(fds[1], STDOUT_FILENO);
	else
		pager = 0;
	close(fds[0]);
	close(fds[1]);
}

void pager_close(void)
{
	fflush(stdout);
	if (!pager)
		return;
	close(STDOUT_FILENO);
	/* It, not we, decides what ^C means. */
	signal(SIGINT, SIG_IGN);
	while (waitpid(pager, NULL, 0) < 0 && errno == EINTR)
		;
	pager = 0;
}

/* --- text ------------------------------------------------------------------------------------- */

static bool is_utf8(void)
{
	static int utf8 = -1;

	if (utf8 < 0)
		utf8 = streq(nl_langinfo(CODESET), "UTF-8"); /* NOLINT(concurrency-mt-unsafe) */
	return utf8;
}

size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

/* The bytes of the first @width characters of @s. */
static size_t text_bytes(const char *s, size_t width)
{
	size_t i = 0;

	for (; s[i]; i++)
		if ((s[i] & 0xc0) != 0x80 && width-- == 0)
			break;
	return i;
}

void print_wrapped(const char *text, unsigned int indent)
{
	unsigned int columns = output_columns();
	size_t room = columns > indent + 20 ? columns - indent : 0;
	size_t used = 0;

	while (*text) {
		size_t word = strcspn(text, " ");
		size_t width = 0;

		for (size_t i = 0; i < word; i++)
			width += (text[i] & 0xc0) != 0x80;
		if (room && used && used + 1 + width > room) {
			printf("\n%*s", (int)indent, "");
			used = 0;
		} else if (used) {
			putchar(' ');
			used++;
		}
		fwrite(text, 1, word, stdout);
		used += width;
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* --- tables ----------------------------------------------------------------------------------- */

void table_add(struct table *table, enum color color, const char *text)
{
	if (table->n_cells == table->size) {
		size_t size = table->size ? 2 * table->size : 64;
		char **cells = reallocarray(table->cells, size, sizeof(*cells));
		enum color *colors;

		if (cells)
			table->cells = cells;
		colors = reallocarray(table->colors, size, sizeof(*colors));
		if (colors)
			table->colors = colors;
		if (!cells || !colors) {
			table->no_memory = true;
			return;
		}
		table->size = size;
	}
	table->cells[table->n_cells] = strdup(text[0] ? VISIBLE(text) : "-");
	if (!table->cells[table->n_cells]) {
		table->no_memory = true;
		return;
	}
	table->colors[table->n_cells++] = color;
}

void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->colors);
	table->cells = NULL;
	table->colors = NULL;
	table->n_cells = 0;
	table->size = 0;
}

static size_t total_width(const struct table *table, const size_t *width)
{
	size_t total = 0;

	for (unsigned int c = 0; c < table->n_columns; c++)
		if (width[c])
			total += width[c] + (total ? 2 : 0);
	return total;
}

/* Takes from the columns what the terminal has no room for. */
static void fit(const struct table *table, size_t *width)
{
	size_t columns = output_columns();
	size_t natural[TABLE_COLUMNS_MAX];

	if (columns == 0)
		return;
	memcpy(natural, width, sizeof(natural));
	for (unsigned int i = 0; i < table->n_fits; i++) {
		const struct table_fit *way = &table->fits[i];
		size_t *column = &width[way->column];
		size_t total = total_width(table, width);

		if (total <= columns)
			break;
		if (*column <= way->width)
			continue;
		if (*column - way->width > total - columns && way->width > 0)
			*column -= total - columns;
		else
			*column = way->width;
	}
	/* What has left may leave more room than was needed. */
	for (unsigned int c = 0; c < table->n_columns; c++) {
		size_t total = total_width(table, width);

		if (width[c] && width[c] < natural[c] && total < columns) {
			size_t more = columns - total;

			width[c] += more < natural[c] - width[c] ? more : natural[c] - width[c];
		}
	}
}

static void print_cell(const char *text, size_t width, bool last, enum color how)
{
	size_t found = text_width(text);

	fputs(how != COLOR_NONE ? color(how) : "", stdout);
	if (found <= width)
		fputs(text, stdout);
	else if (is_utf8())
		printf("%.*s\u2026", (int)text_bytes(text, width - 1), text);
	else
		printf("%.*s...", (int)text_bytes(text, width > 3 ? width - 3 : 0), text);
	fputs(how != COLOR_NONE ? color(COLOR_NONE) : "", stdout);
	if (!last)
		printf("%*s", (int)(found < width ? width - found : 0) + 2, "");
}

static void print_row(const struct table *table, char *const *cells, const enum color *colors,
		      const size_t *width)
{
	unsigned int last = 0;

	for (unsigned int c = 0; c < table->n_columns; c++)
		if (width[c])
			last = c;
	for (unsigned int c = 0; c <= last; c++)
		if (width[c])
			print_cell(cells[c], width[c], c == last, colors[c]);
	putchar('\n');
}

bool table_print(struct table *table, bool legend)
{
	size_t width[TABLE_COLUMNS_MAX] = {0};
	char *heads[TABLE_COLUMNS_MAX];
	enum color head_colors[TABLE_COLUMNS_MAX];

	if (table->n_columns == 0 || table->n_columns > TABLE_COLUMNS_MAX)
		return false;
	for (unsigned int c = 0; c < table->n_columns; c++) {
		heads[c] = (char *)table->heads[c];
		head_colors[c] = COLOR_HEAD;
		width[c] = legend ? strlen(heads[c]) : 0;
	}
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t found = text_width(table->cells[i]);

		if (found > width[i % table->n_columns])
			width[i % table->n_columns] = found;
	}
	fit(table, width);
	if (legend)
		print_row(table, heads, head_colors, width);
	for (size_t i = 0; i + table->n_columns <= table->n_cells; i += table->n_columns)
		print_row(table, table->cells + i, table->colors + i, width);
	return !table->no_memory;
}
