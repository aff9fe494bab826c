// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Driver of QEMU's pci-ats-test, for the proof that no page is handed back while a device can reach it
 *
 * Writing a line to /sys/kernel/debug/ats-test/proof has the driver map a page for several devices, break some of
 * them so that they ignore ATC invalidations, take the page back in the way that is asked for, give it to
 * somebody else, and have the devices write to it through their stale translations. Reading the file says what
 * came of it.
 *
 *    flavour=strict first=0000:01:00.0 wedge=0000:01:00.0,0000:01:00.1 mode=1
 *
 * flavour   see flavours.c
 * first     whose domain it is; all devices of the driver in that domain take part
 * wedge     the devices to break (none: a proof that healthy devices do not do damage)
 * mode      how: the register MODE of the device, 1 for until-reset
 * also      others that take part: with PASIDs, healthy ones
 */
#include <linux/debugfs.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ats-test.h"

#define ANSWER_SIZE	8192

DEFINE_MUTEX(ats_lock); /* one proof at a time, and no device comes or goes */
struct ats_dev ats_devices[MAX_DEVICES];
struct proof *irq_proof;
static struct dentry *folder;
static char *answer;

static irqreturn_t ats_irq(int irq, void *data)
{
	struct proof *proof = READ_ONCE(irq_proof);

	/* Each proof wants one interrupt, of its first device. */
	if (proof && data == proof->devices[0])
		unmap_in_context(proof, "hardirq");
	return IRQ_HANDLED;
}

static int ats_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ats_dev *dev = NULL;
	int ret, i;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	guard(mutex)(&ats_lock);
	for (i = 0; i < MAX_DEVICES && !dev; i++)
		if (!ats_devices[i].pdev)
			dev = &ats_devices[i];
	if (!dev)
		return -ENOSPC;
	dev->regs = pcim_iomap(pdev, 0, 0);
	if (!dev->regs)
		return -ENOMEM;
	if (readl(dev->regs + REG_MAGIC) != ATS_TEST_MAGIC)
		return -ENODEV;
	pci_set_master(pdev);
	/* Virtual functions have no interrupts. */
	dev->irq = -1;
	if (!pdev->is_virtfn) {
		ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX);
		if (ret < 0)
			return ret;
		dev->irq = pci_irq_vector(pdev, 0);
		ret = request_irq(dev->irq, ats_irq, 0, "ats-test", dev);
		if (ret) {
			pci_free_irq_vectors(pdev);
			return ret;
		}
	}
	dev->pdev = pdev;
	pci_set_drvdata(pdev, dev);
	return 0;
}

static void ats_remove(struct pci_dev *pdev)
{
	struct ats_dev *dev = pci_get_drvdata(pdev);

	guard(mutex)(&ats_lock);
	if (dev->irq >= 0) {
		free_irq(dev->irq, dev);
		pci_free_irq_vectors(pdev);
	}
	pci_clear_master(pdev);
	dev->pdev = NULL;
}

static struct ats_dev *find_device(const char *name)
{
	int i;

	for (i = 0; i < MAX_DEVICES; i++)
		if (ats_devices[i].pdev && !strcmp(pci_name(ats_devices[i].pdev), name))
			return &ats_devices[i];
	return NULL;
}

static bool takes_part(struct proof *proof, struct ats_dev *dev)
{
	int i;

	for (i = 0; i < proof->count; i++)
		if (proof->devices[i] == dev)
			return true;
	return false;
}

static int add_device(struct proof *proof, struct ats_dev *dev)
{
	if (!dev)
		return -ENODEV;
	if (!takes_part(proof, dev))
		proof->devices[proof->count++] = dev;
	return 0;
}

static int parse(struct proof *proof, char *line, u32 *mode)
{
	char *first = NULL, *wedge = "", *also = "", *word, *name;
	struct iommu_domain *domain;
	int ret, i;

	*mode = 1;
	while ((word = strsep(&line, " \n"))) {
		char *value = strchr(word, '=');

		if (!*word)
			continue;
		if (!value)
			return -EINVAL;
		*value++ = 0;
		if (!strcmp(word, "flavour"))
			proof->flavour = find_flavour(value);
		else if (!strcmp(word, "first"))
			first = value;
		else if (!strcmp(word, "wedge"))
			wedge = value;
		else if (!strcmp(word, "mode"))
			ret = kstrtou32(value, 0, mode);
		else if (!strcmp(word, "also"))
			also = value;
		else
			return -EINVAL;
	}
	if (!proof->flavour || !first)
		return -EINVAL;
	for (i = 0; i < MAX_DEVICES; i++)
		ats_devices[i].wedged = false;
	ret = add_device(proof, find_device(first));
	while (!ret && (name = strsep(&wedge, ",")) && *name) {
		struct ats_dev *dev = find_device(name);

		ret = add_device(proof, dev);
		if (!ret)
			dev->wedged = true;
	}
	while (!ret && (name = strsep(&also, ",")) && *name)
		ret = add_device(proof, find_device(name));
	if (ret)
		return ret;
	domain = iommu_get_domain_for_dev(&proof->devices[0]->pdev->dev);
	if (!domain) /* a device that the IOMMU has refused */
		return -ENODEV;
	for (i = 0; i < MAX_DEVICES; i++)
		if (ats_devices[i].pdev && iommu_get_domain_for_dev(&ats_devices[i].pdev->dev) == domain)
			add_device(proof, &ats_devices[i]);
	return 0;
}

static ssize_t proof_write(struct file *file, const char __user *user, size_t size, loff_t *offset)
{
	char *line __free(kfree) = memdup_user_nul(user, min(size, 4096));
	struct proof *proof __free(kfree) = kzalloc(sizeof(*proof), GFP_KERNEL);
	u32 mode;
	int ret;

	if (IS_ERR(line))
		return PTR_ERR(no_free_ptr(line));
	if (!proof)
		return -ENOMEM;
	guard(mutex)(&ats_lock);
	*answer = 0;
	ret = parse(proof, line, &mode);
	if (!ret)
		ret = run_proof(proof, mode, answer, ANSWER_SIZE);
	return ret ?: size;
}

static ssize_t proof_read(struct file *file, char __user *user, size_t size, loff_t *offset)
{
	guard(mutex)(&ats_lock);
	return simple_read_from_buffer(user, size, offset, answer, strlen(answer));
}

static const struct file_operations proof_file = {
	.owner = THIS_MODULE,
	.read = proof_read,
	.write = proof_write,
};

/* What any driver may do that sets its device up again: enable bus mastering of the device that is named. */
static ssize_t master_write(struct file *file, const char __user *user, size_t size, loff_t *offset)
{
	char *line __free(kfree) = memdup_user_nul(user, min(size, 64));
	unsigned int domain, bus, slot, function;
	struct pci_dev *pdev;

	if (IS_ERR(line))
		return PTR_ERR(no_free_ptr(line));
	if (sscanf(line, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	/* Not by find_device(): that takes a lock, which an attempt has that waits for the SMMU */
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	pci_set_master(pdev);
	pci_dev_put(pdev);
	return size;
}

static const struct file_operations master_file = {
	.owner = THIS_MODULE,
	.write = master_write,
};

static const struct pci_device_id ats_ids[] = {
	{ PCI_DEVICE(ATS_TEST_VENDOR, ATS_TEST_DEVICE) },
	{ PCI_DEVICE(ATS_TEST_VENDOR, ATS_TEST_VF_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ats_ids);

static struct pci_driver ats_driver = {
	.name = "ats-test",
	.id_table = ats_ids,
	.probe = ats_probe,
	.remove = ats_remove,
	.sriov_configure = pci_sriov_configure_simple,
};

static int __init ats_init(void)
{
	int ret;

	answer = kzalloc(ANSWER_SIZE, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	folder = debugfs_create_dir("ats-test", NULL);
	debugfs_create_file("proof", 0600, folder, NULL, &proof_file);
	debugfs_create_file("master", 0200, folder, NULL, &master_file);
	ret = pci_register_driver(&ats_driver);
	if (ret) {
		debugfs_remove(folder);
		kfree(answer);
	}
	return ret;
}

static void __exit ats_exit(void)
{
	debugfs_remove(folder);
	pci_unregister_driver(&ats_driver);
	kfree(answer);
}

module_init(ats_init);
module_exit(ats_exit);
MODULE_DESCRIPTION("Driver of QEMU's PCI Express test function with ATS");
MODULE_LICENSE("GPL");
