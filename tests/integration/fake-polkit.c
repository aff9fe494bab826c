// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * polkit for the integration tests: it says what the test has written into a file.
 *
 *   fake-polkit ADDRESS FILE
 *
 * FILE holds "yes", "no", "challenge" or "hang". What was asked is printed, one line for each
 * question: SENDER ACTION DEVICE FLAGS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define NAME "org.freedesktop.PolicyKit1"

static const char *file;

static int read_details(sd_bus_message *message, const char **ret)
{
	int r = sd_bus_message_enter_container(message, 'a', "{ss}");

	*ret = "-";
	while (r > 0) {
		const char *key;
		const char *value;

		r = sd_bus_message_read(message, "{ss}", &key, &value);
		if (r > 0 && strcmp(key, "device") == 0)
			*ret = value;
	}
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int check(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *kind;
	const char *key;
	const char *sender;
	const char *action;
	const char *device = NULL;
	unsigned int flags;
	char answer[32] = "no";
	FILE *f = fopen(file, "re");
	int r;

	(void)userdata;
	(void)error;
	r = sd_bus_message_read(message, "(sa{sv})s", &kind, 1, &key, "s", &sender, &action);
	if (r >= 0)
		r = read_details(message, &device);
	if (r >= 0)
		r = sd_bus_message_read(message, "us", &flags, NULL);
	if (f) {
		if (!fgets(answer, sizeof(answer), f))
			answer[0] = '\0';
		fclose(f);
	}
	if (r < 0)
		return r;
	printf("%s %s %s %u\n", sender, action, device, flags);
	fflush(stdout);
	if (strcmp(answer, "hang") == 0)
		return 1;
	return sd_bus_reply_method_return(message, "(bba{ss})", strcmp(answer, "yes") == 0,
					  strcmp(answer, "challenge") == 0, 0);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", check,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

int main(int argc, char **argv)
{
	sd_bus *bus = NULL;
	int r;

	if (argc != 3)
		return EXIT_FAILURE;
	file = argv[2];
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, argv[1]);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, 1);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r >= 0)
		r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
					     NAME ".Authority", vtable, NULL);
	if (r >= 0)
		r = sd_bus_request_name(bus, NAME, 0);
	if (r >= 0) {
		printf("ready\n");
		fflush(stdout);
	}
	while (r >= 0) {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
	}
	sd_bus_unref(bus);
	return EXIT_FAILURE;
}
