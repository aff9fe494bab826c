// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * verify-io: readers that check every byte, to see what a fault does to the I/O above it.
 *
 *   verify-io fill DEV               writes a pattern that tells each block from every other
 *   verify-io read DEV THREADS SECS [MS]  reads blocks at random past the page cache and compares
 *
 * With MS every thread begins a read at each multiple of so many milliseconds, and all of them do at the same time:
 * little work for a slow machine, and always several reads on their way at once.
 *
 * Four lines a second and one at the end: "reads N errors N wrong N longest-ms N". `errors` are failed reads, `wrong`
 * are blocks with another content than was written. Exit code 0 only if both are zero and anything was read.
 * SIGTERM ends the reading early, in good order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define AT_ONCE 8 /* blocks per read: several pages to map and unmap */
#define BLOCKS 4096 /* of the device's start: 16 MiB */

static const char *device;
static _Atomic unsigned long reads, errors, wrong, longest_ms;
static _Atomic int stop;
static unsigned long pace_ms;

static void fill_block(uint64_t *block, uint64_t number)
{
	for (unsigned int i = 0; i < BLOCK / sizeof(*block); i++)
		block[i] = (number << 16 | i) * 0x9e3779b97f4a7c15ull;
}

static unsigned long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ul + t.tv_nsec / 1000000;
}

/* Sleeps until the clock shows the next multiple of the pace. */
static void wait_for_pace(void)
{
	unsigned long next = (now_ms() / pace_ms + 1) * pace_ms;
	struct timespec t = {.tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR && !stop)
		;
}

static void *buffer(void)
{
	void *made;

	if (posix_memalign(&made, BLOCK, BLOCK * AT_ONCE)) {
		perror("verify-io");
		exit(2);
	}
	return made;
}

static int fill(void)
{
	char *data = buffer();
	int fd = open(device, O_WRONLY | O_DIRECT);

	if (fd < 0)
		goto failed;
	for (uint64_t n = 0; n < BLOCKS; n += AT_ONCE) {
		for (int i = 0; i < AT_ONCE; i++)
			fill_block((uint64_t *)(data + i * BLOCK), n + i);
		if (pwrite(fd, data, BLOCK * AT_ONCE, n * BLOCK) != BLOCK * AT_ONCE)
			goto failed;
	}
	if (fsync(fd) == 0)
		return 0;
failed:
	fprintf(stderr, "verify-io: %s: %s\n", device, strerror(errno));
	return 2;
}

static void *reader(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;
	char *data = buffer();
	uint64_t expected[BLOCK / sizeof(uint64_t)];
	int fd = -1;

	while (!stop) {
		uint64_t n = (unsigned int)rand_r(&seed) % (BLOCKS - AT_ONCE);
		unsigned long start, taken;
		ssize_t got;

		if (pace_ms)
			wait_for_pace();
		start = now_ms();
		/* After the device was gone the old descriptor is dead for good: open anew. */
		if (fd < 0)
			fd = open(device, O_RDONLY | O_DIRECT);
		got = fd < 0 ? -1 : pread(fd, data, BLOCK * AT_ONCE, n * BLOCK);
		taken = now_ms() - start;
		if (taken > longest_ms)
			longest_ms = taken; /* a race between readers loses a sample, not a second */
		if (got != BLOCK * AT_ONCE) {
			errors++;
			if (fd >= 0)
				close(fd);
			fd = -1;
			usleep(100000);
			continue;
		}
		reads++;
		for (int i = 0; i < AT_ONCE; i++) {
			fill_block(expected, n + i);
			if (memcmp(expected, data + i * BLOCK, BLOCK))
				wrong++;
		}
	}
	return NULL;
}

static void report(void)
{
	printf("reads %lu errors %lu wrong %lu longest-ms %lu\n", reads, errors, wrong, longest_ms);
	fflush(stdout);
}

static void on_term(int number)
{
	(void)number;
	stop = 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "fill")) {
		device = argv[2];
		return fill();
	}
	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "read")) {
		int threads = atoi(argv[3]), seconds = atoi(argv[4]);
		unsigned long end = now_ms() + seconds * 1000ul, next = now_ms() + 250;

		device = argv[2];
		pace_ms = argc == 6 ? strtoul(argv[5], NULL, 10) : 0;
		signal(SIGTERM, on_term);
		signal(SIGINT, on_term);
		for (int i = 0; i < threads; i++) {
			pthread_t thread;

			/* Never joined: a reader stuck in the kernel must not keep the report back. */
			if (pthread_create(&thread, NULL, reader, (void *)(uintptr_t)(i + 1)))
				return 2;
		}
		while (!stop && now_ms() < end) {
			usleep(50000);
			if (now_ms() >= next) {
				next += 250;
				report();
			}
		}
		stop = 1;
		usleep(200000);
		report();
		return errors || wrong || !reads;
	}
	fprintf(stderr, "usage: verify-io fill DEV | verify-io read DEV THREADS SECONDS [MS]\n");
	return 2;
}
