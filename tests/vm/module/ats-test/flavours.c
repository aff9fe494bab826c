// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ways in which a page is taken from a device
 *
 * strict    dma_unmap_page() by a task
 * irqs-off  the same with interrupts off, so that the SMMU's cannot come on this CPU
 * softirq   the same by a timer
 * hardirq   the same by the handler of the device's MSI
 * reclaim   the same by a shrinker, called by whoever is short of memory
 * lazy      dma_unmap_page() in a domain with a flush queue (DMA-FQ), until the queue was flushed. What is between, the
 *           lazy mode leaves to the device by design.
 * pasid     iommu_unmap() in a domain that is attached to a PASID
 * sva       munmap() of a process whose address space is that of a PASID
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/timer.h>
#include <linux/uaccess.h>

#include "ats-test.h"

#define FLUSH_QUEUE	256	/* entries of a CPU's flush queue: IOVA_DEFAULT_FQ_SIZE */
static int unmap_lazy(struct proof *proof);

#define PASID_IOVA	0x10000000UL
#define SVA_PAGES	64	/* more than a CPU keeps on their way to the LRU, with a reference to each */

static struct device *dma_device(struct proof *proof)
{
	return &proof->devices[0]->pdev->dev;
}

static bool has_flush_queue(struct proof *proof)
{
	return iommu_get_domain_for_dev(dma_device(proof))->type == IOMMU_DOMAIN_DMA_FQ;
}

static int map_dma(struct proof *proof)
{
	/* With a flush queue an unmap returns before the flush: only `lazy` knows when that is done. */
	if (has_flush_queue(proof) != (proof->flavour->unmap == unmap_lazy))
		return -EOPNOTSUPP;
	proof->page = alloc_page(GFP_KERNEL);
	if (!proof->page)
		return -ENOMEM;
	proof->dma = dma_map_page(dma_device(proof), proof->page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dma_device(proof), proof->dma)) {
		__free_page(proof->page);
		return -ENOMEM;
	}
	proof->iova = proof->dma;
	return 0;
}

/* The one unmap that a proof does, in whatever context this is called. */
void unmap_in_context(struct proof *proof, const char *context)
{
	if (atomic_xchg(&proof->started, 1))
		return;
	proof->context = context;
	proof_flushing(proof);
	dma_unmap_page(dma_device(proof), proof->dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	proof_flushed(proof);
	complete(&proof->done);
}

static void undo_dma(struct proof *proof)
{
	if (!proof->page)
		return; /* all of it is done */
	unmap_in_context(proof, "undo");
	__free_page(proof->page);
}

static int unmap_strict(struct proof *proof)
{
	unmap_in_context(proof, "task");
	return 0;
}

static int unmap_irqs_off(struct proof *proof)
{
	unsigned long flags;

	local_irq_save(flags);
	unmap_in_context(proof, "task");
	local_irq_restore(flags);
	return 0;
}

static int wait_unmapped(struct proof *proof)
{
	return wait_for_completion_timeout(&proof->done, 120 * HZ) ? 0 : -ETIMEDOUT;
}

static struct proof *timer_proof;

static void timer_callback(struct timer_list *timer)
{
	unmap_in_context(timer_proof, in_softirq() ? "softirq" : "timer");
}

static int unmap_softirq(struct proof *proof)
{
	struct timer_list timer;
	int ret;

	timer_proof = proof;
	timer_setup_on_stack(&timer, timer_callback, 0);
	mod_timer(&timer, jiffies + 1);
	ret = wait_unmapped(proof);
	timer_delete_sync(&timer);
	timer_destroy_on_stack(&timer);
	return ret;
}

static int unmap_hardirq(struct proof *proof)
{
	int ret;

	if (proof->devices[0]->irq < 0)
		return -EOPNOTSUPP;
	WRITE_ONCE(irq_proof, proof);
	device_command(proof->devices[0], proof->iova, 0, DEVICE_PATTERN, CMD_INTERRUPT);
	ret = wait_unmapped(proof);
	WRITE_ONCE(irq_proof, NULL);
	synchronize_irq(proof->devices[0]->irq);
	return ret;
}

static unsigned long count_objects(struct shrinker *shrinker, struct shrink_control *control)
{
	struct proof *proof = shrinker->private_data;

	return atomic_read(&proof->started) ? SHRINK_EMPTY : 1024;
}

static unsigned long scan_objects(struct shrinker *shrinker, struct shrink_control *control)
{
	struct proof *proof = shrinker->private_data;

	if (!(current->flags & PF_MEMALLOC) || atomic_read(&proof->started))
		return SHRINK_STOP;
	unmap_in_context(proof, current_is_kswapd() ? "kswapd" : "direct-reclaim");
	return 1;
}

/* Memory gets short because all of it is allocated, until somebody who reclaims has called the shrinker. */
static int unmap_reclaim(struct proof *proof)
{
	struct shrinker *shrinker = shrinker_alloc(0, "ats-test");
	struct page *page, *next;
	LIST_HEAD(taken);

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = count_objects;
	shrinker->scan_objects = scan_objects;
	shrinker->seeks = 0;
	shrinker->private_data = proof;
	shrinker_register(shrinker);
	while (!try_wait_for_completion(&proof->done)) {
		page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (page)
			list_add(&page->lru, &taken);
		else if (!atomic_read(&proof->started))
			break;
		cond_resched();
	}
	list_for_each_entry_safe(page, next, &taken, lru)
		__free_page(page);
	shrinker_free(shrinker);
	return atomic_read(&proof->started) ? 0 : -EAGAIN;
}

/*
 * A CPU's flush queue frees an entry only once it was flushed, and when it is full it is flushed by whoever adds the
 * next. So once as many entries as it has were added after ours, ours was flushed.
 */
static int unmap_lazy(struct proof *proof)
{
	struct page *page;
	int i;

	page = alloc_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	atomic_set(&proof->started, 1);
	preempt_disable();
	proof_flushing(proof);
	dma_unmap_page(dma_device(proof), proof->dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	for (i = 0; i <= FLUSH_QUEUE; i++) {
		dma_addr_t dma = dma_map_page(dma_device(proof), page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);

		if (!dma_mapping_error(dma_device(proof), dma))
			dma_unmap_page(dma_device(proof), dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	}
	proof_flushed(proof);
	preempt_enable();
	__free_page(page);
	return 0;
}

/* -- PASIDs -- */

static void detach_pasid(struct proof *proof)
{
	u32 pasid = proof->pasid & ~PASID_VALID;
	int i;

	for (i = 0; i < proof->count; i++) {
		struct ats_dev *dev = proof->devices[i];

		if (dev->pasid_attached)
			iommu_detach_device_pasid(proof->domain, &dev->pdev->dev, pasid);
		dev->pasid_attached = false;
	}
	iommu_domain_free(proof->domain);
	if (pasid)
		iommu_free_global_pasid(pasid);
}

static int map_pasid(struct proof *proof)
{
	ioasid_t pasid = iommu_alloc_global_pasid(dma_device(proof));
	int ret = 0, i;

	if (pasid == IOMMU_PASID_INVALID)
		return -EOPNOTSUPP;
	proof->domain = iommu_paging_domain_alloc(dma_device(proof));
	if (IS_ERR(proof->domain)) {
		iommu_free_global_pasid(pasid);
		return PTR_ERR(proof->domain);
	}
	proof->pasid = pasid | PASID_VALID;
	proof->iova = PASID_IOVA;
	for (i = 0; i < proof->count && !ret; i++) {
		ret = iommu_attach_device_pasid(proof->domain, &proof->devices[i]->pdev->dev, pasid, NULL);
		proof->devices[i]->pasid_attached = !ret;
	}
	proof->page = ret ? NULL : alloc_page(GFP_KERNEL);
	if (!ret)
		ret = proof->page ? iommu_map(proof->domain, PASID_IOVA, page_to_phys(proof->page), PAGE_SIZE,
					      IOMMU_READ | IOMMU_WRITE, GFP_KERNEL) : -ENOMEM;
	if (ret) {
		if (proof->page)
			__free_page(proof->page);
		detach_pasid(proof);
	}
	return ret;
}

static int unmap_pasid(struct proof *proof)
{
	proof_flushing(proof);
	iommu_unmap(proof->domain, PASID_IOVA, PAGE_SIZE);
	proof_flushed(proof);
	return 0;
}

static void undo_pasid(struct proof *proof)
{
	if (proof->page) {
		iommu_unmap(proof->domain, PASID_IOVA, PAGE_SIZE);
		__free_page(proof->page);
	}
	detach_pasid(proof);
}

/* -- SVA: the address space is that of the process that writes to our file -- */

static void undo_sva(struct proof *proof)
{
	int i;

	for (i = 0; i < proof->count; i++) {
		if (proof->devices[i]->sva)
			iommu_sva_unbind_device(proof->devices[i]->sva);
		proof->devices[i]->sva = NULL;
	}
	if (proof->address)
		vm_munmap(proof->address, SVA_PAGES * PAGE_SIZE);
}

static int map_sva(struct proof *proof)
{
	unsigned long address;
	struct page *page;
	int i;

	address = vm_mmap(NULL, 0, SVA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, 0);
	if (IS_ERR_VALUE(address))
		return address;
	proof->address = address;
	for (i = 0; i < SVA_PAGES; i++)
		if (put_user(0, (u64 __user *)(address + i * PAGE_SIZE)))
			goto fault;
	if (get_user_pages_fast(address, 1, FOLL_WRITE, &page) != 1)
		goto fault;
	put_page(page);
	proof->page = page;
	proof->iova = address;
	for (i = 0; i < proof->count; i++) {
		struct iommu_sva *sva = iommu_sva_bind_device(&proof->devices[i]->pdev->dev, current->mm);

		if (IS_ERR(sva)) {
			undo_sva(proof);
			return PTR_ERR(sva);
		}
		proof->devices[i]->sva = sva;
		proof->pasid = iommu_sva_get_pasid(sva) | PASID_VALID;
	}
	return 0;
fault:
	undo_sva(proof);
	return -EFAULT;
}

static int unmap_sva(struct proof *proof)
{
	int ret;

	proof_flushing(proof);
	ret = vm_munmap(proof->address, PAGE_SIZE);
	proof_flushed(proof);
	return ret;
}

static const struct flavour flavours[] = {
	{ "strict", true, GFP_KERNEL, map_dma, unmap_strict, undo_dma },
	{ "irqs-off", true, GFP_KERNEL, map_dma, unmap_irqs_off, undo_dma },
	{ "softirq", true, GFP_KERNEL, map_dma, unmap_softirq, undo_dma },
	{ "hardirq", true, GFP_KERNEL, map_dma, unmap_hardirq, undo_dma },
	{ "reclaim", true, GFP_KERNEL, map_dma, unmap_reclaim, undo_dma },
	{ "lazy", true, GFP_KERNEL, map_dma, unmap_lazy, undo_dma },
	{ "pasid", true, GFP_KERNEL, map_pasid, unmap_pasid, undo_pasid },
	{ "sva", false, GFP_HIGHUSER_MOVABLE, map_sva, unmap_sva, undo_sva },
};

const struct flavour *find_flavour(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(flavours); i++)
		if (!strcmp(flavours[i].name, name))
			return &flavours[i];
	return NULL;
}
