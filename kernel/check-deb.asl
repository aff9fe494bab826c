// SPDX-License-Identifier: GPL-2.0-or-later
// What the firmware of a server can know of a card: how to reset it (kernel/check-deb, reset method `acpi`).
//
// The card is igb0, behind the third root port. Its _RST begins a Function Level Reset. A card that is off the bus
// afterwards makes it divide by zero, since that is how AML tells its caller of a failure: _RST returns nothing.

DefinitionBlock ("", "SSDT", 2, "SMMRAS", "CARDRST", 1)
{
    External (\_SB.PCI0, DeviceObj)

    Scope (\_SB.PCI0)
    {
        Device (PRT3)
        {
            Name (_ADR, 0x00030000)  // 00:03.0

            Device (CARD)
            {
                Name (_ADR, Zero)  // function 0 behind it

                OperationRegion (CONF, PCI_Config, Zero, 0x100)
                Field (CONF, DWordAcc, NoLock, Preserve)
                {
                    VNID, 32  // vendor and device ID
                }
                Field (CONF, WordAcc, NoLock, Preserve)
                {
                    Offset (0xA8),  // the PCI Express capability is at 0xa0, and Device Control 8 bytes into it
                    DCTL, 16
                }

                Method (_RST, 0, Serialized)
                {
                    DCTL |= 0x8000  // Initiate Function Level Reset
                    Sleep (200)
                    Debug = One / (VNID ^ 0xFFFFFFFF)
                }
            }
        }
    }
}
