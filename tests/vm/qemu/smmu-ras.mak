# SPDX-License-Identifier: GPL-2.0-or-later
#
# Devices of the smmu-ras test bed: the virt machine with GICv3 and SMMUv3,
# and the PCIe functions that the tests use. Used with
# --without-default-devices, so everything that is not selected by the
# machine itself has to be named here.

CONFIG_ARM_VIRT=y

# the bed's own console, disk, network and entropy
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y

# functions behind the SMMU
CONFIG_PCIE_PORT=y
CONFIG_VIRTIO_PCI=y
CONFIG_NVME_PCI=y
CONFIG_E1000E_PCI_EXPRESS=y
CONFIG_IGB_PCI_EXPRESS=y
CONFIG_PCI_ATS_TEST=y

# what they can sit behind: a switch, and a bridge to conventional PCI
CONFIG_XIO3130=y
CONFIG_PCI_BRIDGE=y
CONFIG_PCIE_PCI_BRIDGE=y
