// SPDX-License-Identifier: GPL-2.0-or-later
/* One try to have a page damaged by devices that ignore ATC invalidations. */
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>

#include "ats-test.h"

#define SEARCH_PAGES	65536	/* how many pages are allocated in search of the one */

/*
 * How often a wedged device writes by itself. Each write of a device that is cut off is an event of the SMMU's, whose
 * thread has a real-time priority: a kernel with checkers can do with fewer, or does nothing else.
 */
static unsigned int hammer_us = 50;
module_param(hammer_us, uint, 0644);

/* The device's clock, just before and after the call that flushes: MMIO, so in order with what the device sees. */
void proof_flushing(struct proof *proof)
{
	proof->called_ns = readq(proof->devices[0]->regs + REG_NOW_NS);
}

/*
 * The flush has returned: from here on the page may be somebody else's. Each device looks at once whether a stale
 * translation of its would still take it to memory, and counts that as a violation.
 */
void proof_flushed(struct proof *proof)
{
	int i;

	for (i = 0; i < proof->count; i++)
		writel(0, proof->devices[i]->regs + REG_FLUSHED);
	proof->returned_ns = readq(proof->devices[0]->regs + REG_NOW_NS);
	proof->irqs_off = irqs_disabled();
}

/* All devices ask for a translation of the page, and use it. */
static int cache_page(struct proof *proof)
{
	int i;

	for (i = 0; i < proof->count; i++) {
		struct ats_dev *dev = proof->devices[i];

		memset(page_address(proof->page), 0, PAGE_SIZE);
		if (device_command(dev, proof->iova, proof->pasid, 0, CMD_TRANSLATE) != 1 ||
		    !readq(dev->regs + REG_ENTRIES)) {
			pci_err(dev->pdev, "the device has no translation: status %u\n", readl(dev->regs + REG_STATUS));
			return -EIO;
		}
		device_command(dev, proof->iova, proof->pasid, DEVICE_PATTERN, CMD_WRITE);
		if (memchr_inv(page_address(proof->page), DEVICE_PATTERN, PAGE_SIZE)) {
			pci_err(dev->pdev, "the device did not write to the page\n");
			return -EIO;
		}
	}
	return 0;
}

/* Gives the page to somebody else: allocates until it is the one. */
static bool reuse_page(struct page *wanted, gfp_t gfp)
{
	LIST_HEAD(others);
	struct page *page, *next;
	bool found = false;
	int i;

	for (i = 0; i < SEARCH_PAGES && !found; i++) {
		page = alloc_page(gfp | __GFP_NORETRY | __GFP_NOWARN);
		if (!page)
			break;
		if (page == wanted)
			found = true;
		else
			list_add(&page->lru, &others);
	}
	list_for_each_entry_safe(page, next, &others, lru)
		__free_page(page);
	return found;
}

static unsigned int damage(struct page *page)
{
	const u8 *bytes = page_address(page);
	unsigned int i, count = 0;

	for (i = 0; i < PAGE_SIZE; i++)
		count += READ_ONCE(bytes[i]) != OWNER_PATTERN;
	return count;
}

/* How many of the devices that were not broken still do DMA to a page that is mapped for them */
static int healthy_devices(struct proof *proof)
{
	struct device *dma_dev = &proof->devices[0]->pdev->dev;
	struct page *page = alloc_page(GFP_KERNEL);
	dma_addr_t dma;
	int i, count = 0;

	if (!page)
		return -ENOMEM;
	/* With PASIDs the devices are in domains of their own: each maps for itself. */
	for (i = 0; i < proof->count; i++) {
		struct ats_dev *dev = proof->devices[i];

		if (dev->wedged)
			continue;
		if (proof->pasid)
			dma_dev = &dev->pdev->dev;
		dma = dma_map_page(dma_dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
		if (dma_mapping_error(dma_dev, dma))
			continue;
		memset(page_address(page), 0, PAGE_SIZE);
		device_command(dev, dma, 0, DEVICE_PATTERN, CMD_WRITE);
		count += !memchr_inv(page_address(page), DEVICE_PATTERN, PAGE_SIZE);
		dma_unmap_page(dma_dev, dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	}
	__free_page(page);
	return count;
}

static int report(struct proof *proof, bool reused, unsigned int damaged, u64 written, char *text, size_t size)
{
	u64 violations = 0, stale = 0, hammered = 0, window = 0, late = 0;
	int i, wedged = 0, cut_off = 0, at;

	for (i = 0; i < proof->count; i++) {
		struct ats_dev *dev = proof->devices[i];
		u64 missed = readq(dev->regs + REG_MISSED_NS), end = readq(dev->regs + REG_CUT_OFF_NS);

		violations += readl(dev->regs + REG_VIOLATIONS);
		if (!dev->wedged)
			continue;
		wedged++;
		stale += readq(dev->regs + REG_STALE);
		hammered += readq(dev->regs + REG_HAMMERED);
		if (end) {
			cut_off++;
			window = max(window, end - missed);
			late += end > proof->returned_ns;
		}
	}
	at = scnprintf(text, size, "flavour=%s context=%s irqs_off=%d devices=%d wedged=%d reused=%d damaged=%u ",
		       proof->flavour->name, proof->context ?: "task", proof->irqs_off, proof->count, wedged, reused,
		       damaged);
	at += scnprintf(text + at, size - at, "stale=%llu written=%llu hammered=%llu violations=%llu cut_off=%d late=%llu ",
			stale, written, hammered, violations, cut_off, late);
	at += scnprintf(text + at, size - at, "window_us=%llu flush_us=%llu ", div_u64(window, 1000),
			div_u64(proof->returned_ns - proof->called_ns, 1000));
	return scnprintf(text + at, size - at, "healthy=%d\n", healthy_devices(proof));
}

int run_proof(struct proof *proof, u32 mode, char *text, size_t size)
{
	struct page *page;
	unsigned int damaged = 0;
	bool reused = false;
	u64 written = 0;
	int ret, i;

	/* A page that was freed is first in line for who allocates next on the same CPU. */
	migrate_disable();
	init_completion(&proof->done);
	ret = proof->flavour->map(proof);
	if (ret)
		goto out;
	page = proof->page;
	ret = cache_page(proof);
	if (ret)
		goto undo;

	for (i = 0; i < proof->count; i++) {
		struct ats_dev *dev = proof->devices[i];

		writel(0, dev->regs + REG_VIOLATIONS);
		if (!dev->wedged)
			continue;
		writel(mode, dev->regs + REG_MODE);
		/* From now on it writes to everything that becomes stale. */
		writel(DEVICE_PATTERN, dev->regs + REG_PATTERN);
		writel(hammer_us, dev->regs + REG_HAMMER);
	}

	ret = proof->flavour->unmap(proof);
	if (ret)
		goto undo;
	if (proof->flavour->page_is_ours)
		__free_page(page);
	proof->page = NULL;

	reused = reuse_page(page, proof->flavour->gfp);
	if (reused) {
		memset(page_address(page), OWNER_PATTERN, PAGE_SIZE);
		for (i = 0; i < proof->count; i++)
			if (proof->devices[i]->wedged)
				written += device_command(proof->devices[i], proof->iova, proof->pasid,
							  DEVICE_PATTERN, CMD_WRITE_STALE);
		usleep_range(20 * hammer_us, 40 * hammer_us);
		damaged = damage(page);
		__free_page(page);
	}
	for (i = 0; i < proof->count; i++)
		writel(0, proof->devices[i]->regs + REG_HAMMER);
	report(proof, reused, damaged, written, text, size);
undo:
	proof->flavour->undo(proof);
out:
	migrate_enable();
	return ret;
}
