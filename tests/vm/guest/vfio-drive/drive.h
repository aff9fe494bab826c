/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of vfio-drive know of each other; main.c says what the program is. */
#ifndef DRIVE_H
#define DRIVE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PAGE	   4096
#define PAGES	   256
#define MAX_THINGS 64
#define UNMAPPED   0x5a /* what a page is filled with when it has been unmapped */

enum kind {
	CONTAINER = 1 << 0, /* of VFIO, with a type 1 IOMMU */
	IOAS = 1 << 1,
	HWPT = 1 << 2,
	VIOMMU = 1 << 3,
	VDEVICE = 1 << 4,
	VEVENTQ = 1 << 5,
	DEVICE = 1 << 6,
};

/* An NVMe controller with nothing but its admin queue */
struct nvme {
	volatile uint8_t *registers;
	uint8_t *sq, *cq; /* a page each */
	uint16_t tail, head, phase, id;

	/* who keeps it busy */
	pthread_t thread;
	bool running;
	_Atomic int stop;
	_Atomic unsigned long done, failed;
	uint64_t iova;
};

struct thing {
	char name[24];
	enum kind kind;
	int fd;
	int group; /* of a device that was opened through its group, else -1 */
	unsigned long group_number;
	uint32_t id;
	struct nvme nvme;
	volatile uint8_t *registers; /* of a pci-ats-test */
};

/* main.c */
extern struct thing things[MAX_THINGS];
struct thing *find(const char *name,
		   unsigned int kinds); /* exits with an answer if there is none */
struct thing *add(const char *name, enum kind kind, int fd, uint32_t id);
void drop(struct thing *thing);
uint64_t number(const char *text);
uint8_t *pages(const char *first, uint64_t count); /* of the program's memory */
int iommufd(void);
long long now_ms(void);
/* Ends the command, with its only line of output */
_Noreturn void fail(const char *what);
_Noreturn void fail_with(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The commands: each gets its words, of which there are as many as it asked for, and prints what
 * follows "ok". */
void container(char **words, int count);
void ioas(char **words, int count);
void map(char **words, int count);
void unmap(char **words, int count);
void unmap_both(char **words, int count);

void open_group(char **words, int count);
void open_cdev(char **words, int count);
void attach(char **words, int count);
void detach(char **words, int count);
void reset(char **words, int count);
void hot_reset(char **words, int count);
void close_thing(char **words, int count);

void start(char **words, int count);
void identify(char **words, int count);
void watch(char **words, int count);
void busy(char **words, int count);
void idle(char **words, int count);
void progress(char **words, int count);
void stop_busy(struct nvme *nvme);

void registers(char **words, int count);
void wedge(char **words, int count);
void order(char **words, int count);
void record(char **words, int count);
void ats_close(struct thing *device);
uint64_t ats_now(void);
void ats_flushed(void);

void parent(char **words, int count);
void viommu(char **words, int count);
void vdevice(char **words, int count);
void nested(char **words, int count);
void invalidate(char **words, int count);
void veventq(char **words, int count);
void events(char **words, int count);

#endif
