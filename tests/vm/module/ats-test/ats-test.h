/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the driver know of each other; main.c says what it is for. */
#ifndef ATS_TEST_H
#define ATS_TEST_H

#include <linux/completion.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/pci.h>

#include "hw.h"

#define MAX_DEVICES	64
#define OWNER_PATTERN	0x5a	/* what the next owner of the page has written to it */
#define DEVICE_PATTERN	0xa5	/* what the devices write to it */

struct ats_dev {
	struct pci_dev *pdev;
	void __iomem *regs;
	int irq;
	/* in one proof: */
	bool wedged;
	bool pasid_attached;
	struct iommu_sva *sva;
};

struct flavour;

/* One try to have a page damaged. Devices are those that take part; the first one is used for the DMA API. */
struct proof {
	const struct flavour *flavour;
	struct ats_dev *devices[MAX_DEVICES];
	int count;

	/* the page, and where the devices see it */
	struct page *page;
	u64 iova;
	u32 pasid;			/* for REG_PASID */
	dma_addr_t dma;
	struct iommu_domain *domain;	/* of a PASID */
	unsigned long address;		/* of user space */

	/* how the flush went */
	struct completion done;
	atomic_t started;
	const char *context;
	bool irqs_off;
	u64 called_ns, returned_ns;	/* of the device's clock */
};

/*
 * How a page is taken from the devices. @unmap returns when the page may be given to somebody else, and calls
 * proof_flushed() as soon as it knows that, in the same context. All return 0 or a negative errno.
 */
struct flavour {
	const char *name;
	bool page_is_ours;	/* it is still allocated after @unmap */
	gfp_t gfp;		/* for allocations that can get the page again: they go by mobility */
	int (*map)(struct proof *proof);
	int (*unmap)(struct proof *proof);
	void (*undo)(struct proof *proof);
};

extern struct mutex ats_lock;
extern struct ats_dev ats_devices[MAX_DEVICES];
extern struct proof *irq_proof; /* whose interrupt unmaps */

/* flavours.c */
const struct flavour *find_flavour(const char *name);
void unmap_in_context(struct proof *proof, const char *context);

/* proof.c */
int run_proof(struct proof *proof, u32 mode, char *text, size_t size);
void proof_flushing(struct proof *proof);
void proof_flushed(struct proof *proof);

static inline u64 device_command(struct ats_dev *dev, u64 iova, u32 pasid, u8 pattern, u32 command)
{
	writeq(iova, dev->regs + REG_IOVA);
	writel(PAGE_SIZE, dev->regs + REG_LEN);
	writel(pasid, dev->regs + REG_PASID);
	writel(pattern, dev->regs + REG_PATTERN);
	writel(command, dev->regs + REG_COMMAND);
	return readq(dev->regs + REG_RESULT);
}

#endif
