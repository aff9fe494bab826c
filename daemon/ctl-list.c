// SPDX-License-Identifier: GPL-2.0-or-later
/* smmu-rasctl list: what is fenced, and what is done about it. */
#include <errno.h>
#include <sys/ioctl.h>
#include <time.h>

#include "ctl.h"

struct row {
	struct ras_device device;
	struct device_record record;
	bool has_record;
};

struct rows {
	struct row *rows;
	size_t n;
	size_t size;
	bool no_memory;
};

static struct row *rows_add(struct rows *rows)
{
	if (rows->n == rows->size) {
		size_t size = rows->size ? rows->size * 2 : 16;
		struct row *grown = reallocarray(rows->rows, size, sizeof(*grown));

		if (!grown) {
			rows->no_memory = true;
			return NULL;
		}
		rows->rows = grown;
		rows->size = size;
	}
	rows->rows[rows->n] = (struct row){0};
	return &rows->rows[rows->n++];
}

static int add_device(const struct kernel_message *message, void *userdata)
{
	struct row *row = rows_add(userdata);

	if (!row)
		return -ENOMEM;
	row->device = message->device;
	row->has_record = ctl_record(row->device.bus, row->device.dev, &row->record);
	return 0;
}

/* Devices that the kernel has unfenced, but that the daemon is not done with: no driver, say. */
static void add_record(const struct device_record *record, int error, void *userdata)
{
	struct rows *rows = userdata;
	struct row *row;

	if (error < 0 || record->state == RECOVERY_IDLE)
		return;
	for (size_t i = 0; i < rows->n; i++)
		if (streq(rows->rows[i].device.dev, record->dev) &&
		    streq(rows->rows[i].device.bus, record->bus))
			return;
	row = rows_add(rows);
	if (!row)
		return;
	row->record = *record;
	row->has_record = true;
	row->device.state = IOMMU_RAS_STATE_ACTIVE;
	memcpy(row->device.bus, record->bus, sizeof(row->device.bus));
	memcpy(row->device.dev, record->dev, sizeof(row->device.dev));
	row->device.fence_id = record->fence_id;
}

/* What needs somebody first. */
static int urgency(const struct row *row)
{
	if (!row->has_record)
		return 2;
	switch (row->record.state) {
	case RECOVERY_STUCK:
		return 0;
	case RECOVERY_ISOLATED:
		return 1;
	case RECOVERY_IGNORED:
		return 5;
	case RECOVERY_BACKOFF:
		return 3;
	default:
		return 4;
	}
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a;
	const struct row *y = b;
	int d = urgency(x) - urgency(y);

	return d ? d : strcmp(x->device.dev, y->device.dev);
}

#define COLUMNS 7

struct cells {
	char text[COLUMNS][128];
};

static void fill_cells(const struct row *row, bool daemon, struct cells *cells)
{
	const struct ras_device *device = &row->device;
	const char *driver = device->driver;
	uint64_t begun = ctl_fence_time(device);
	uint64_t now = now_usec(CLOCK_REALTIME);
	char name[256];

	str_copy(cells->text[0], sizeof(cells->text[0]), device->dev);
	str_copy(cells->text[1], sizeof(cells->text[1]), ras_state_name(device->state));
	str_copy(cells->text[2], sizeof(cells->text[2]),
		 begun && begun < now ? USEC_TEXT(now - begun) : "-");
	str_copy(cells->text[3], sizeof(cells->text[3]),
		 device->reason ? ras_reason_name(device->reason) : "-");
	if (driver[0] == '\0' && row->has_record && row->record.driver[0])
		snprintf(cells->text[4], sizeof(cells->text[4]), "(%s)", row->record.driver);
	else
		str_copy(cells->text[4], sizeof(cells->text[4]), driver[0] ? driver : "-");
	if (row->has_record && (daemon || row->record.state == RECOVERY_ISOLATED))
		ctl_recovery_text(&row->record, cells->text[5], sizeof(cells->text[5]));
	else
		str_copy(cells->text[5], sizeof(cells->text[5]), "-");
	ctl_device_name(device->bus, device->dev, name, sizeof(name));
	str_copy(cells->text[6], sizeof(cells->text[6]), name[0] ? name : "-");
	for (int i = 0; i < COLUMNS; i++)
		str_copy(cells->text[i], sizeof(cells->text[i]), VISIBLE(cells->text[i]));
}

static void print_row(const char text[COLUMNS][128], const size_t *width, int columns)
{
	char line[1024];
	size_t used = 0;

	for (int i = 0; i < COLUMNS && used < sizeof(line); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%-*s%s", (int)width[i],
					 text[i], i + 1 < COLUMNS ? "  " : "");
	/* A terminal that is too narrow loses the end of the name, and no line breaks. */
	if (columns > 0 && columns < (int)sizeof(line))
		line[columns] = '\0';
	puts(str_chomp(line));
}

static void print_table(const struct rows *rows, bool daemon, bool legend)
{
	static const char head[COLUMNS][128] = {"DEVICE", "STATE",    "SINCE", "REASON",
						"DRIVER", "RECOVERY", "NAME"};
	struct cells *cells = calloc(rows->n, sizeof(*cells));
	size_t width[COLUMNS] = {0};
	struct winsize size = {0};

	if (!cells)
		return;
	if (isatty(STDOUT_FILENO))
		(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	for (size_t i = 0; i < rows->n; i++)
		fill_cells(&rows->rows[i], daemon, &cells[i]);
	for (int c = 0; c < COLUMNS; c++) {
		width[c] = legend ? strlen(head[c]) : 0;
		for (size_t i = 0; i < rows->n; i++)
			if (strlen(cells[i].text[c]) > width[c])
				width[c] = strlen(cells[i].text[c]);
	}
	if (legend)
		print_row(head, width, size.ws_col);
	for (size_t i = 0; i < rows->n; i++)
		print_row((const char(*)[128])cells[i].text, width, size.ws_col);
	free(cells);
}

static int print_json(const struct rows *rows, bool daemon)
{
	json_t *devices = json_array();

	for (size_t i = 0; i < rows->n; i++)
		json_array_append_new(
			devices,
			ctl_device_json(&rows->rows[i].device,
					rows->rows[i].has_record ? &rows->rows[i].record : NULL));
	return ctl_print_json(json_pack("{s:b, s:o}", "daemon_running", daemon, "devices", devices),
			      false);
}

static int collect(struct rows *rows)
{
	struct kernel_link link = KERNEL_LINK_NONE;
	int r = ctl_connect(&link);
	int tries = 0;

	if (r != CTL_OK) {
		kernel_link_close(&link);
		return r;
	}
	do {
		rows->n = 0;
		r = kernel_link_dump(&link, add_device, rows);
	} while (r == -EINTR && ++tries < 10);
	kernel_link_close(&link);
	/* The others are worth seeing. */
	if (r == -EBADMSG)
		fprintf(stderr, "The kernel told about a device in a way that cannot be "
				"understood; it is not shown\n");
	else if (r < 0) {
		fprintf(stderr, "Cannot get the devices from the kernel: %s\n", strerror(-r));
		return CTL_FAILURE;
	}
	(void)state_load_all(add_record, rows);
	if (rows->no_memory) {
		fprintf(stderr, "Out of memory\n");
		return CTL_FAILURE;
	}
	if (rows->n > 0)
		qsort(rows->rows, rows->n, sizeof(*rows->rows), compare_rows);
	return CTL_OK;
}

int ctl_list(const struct ctl *ctl, int argc, char **argv)
{
	struct rows rows = {0};
	bool daemon = state_daemon_runs();
	int r;

	if (argc > 1) {
		fprintf(stderr,
			"\"list\" takes no arguments, found \"%s\"; for one device: "
			"smmu-rasctl show %s\n",
			VISIBLE(argv[1]), VISIBLE(argv[1]));
		return CTL_USAGE;
	}
	r = collect(&rows);
	if (r == CTL_OK && ctl->json) {
		r = print_json(&rows, daemon);
	} else if (r == CTL_OK) {
		if (rows.n > 0)
			print_table(&rows, daemon, ctl->legend);
		else if (ctl->legend)
			printf("All is well: no device is fenced.\n");
		if (ctl->legend && !daemon)
			printf("%ssmmu-rasd is not running%s.\n", rows.n > 0 ? "\n" : "",
			       rows.n > 0 ? "; nothing recovers these devices" : "");
	}
	free(rows.rows);
	return r;
}
