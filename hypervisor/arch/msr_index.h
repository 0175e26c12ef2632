/* Model-specific registers by number (SDM vol. 4). */
#ifndef LVMM_ARCH_MSR_INDEX_H
#define LVMM_ARCH_MSR_INDEX_H

#define MSR_TSC                  0x10
#define MSR_TSC_ADJUST           0x3b
#define MSR_APIC_BASE            0x1b
#define MSR_SMI_COUNT            0x34
#define MSR_FEATURE_CONTROL      0x3a
#define MSR_BIOS_SIGN_ID         0x8b
#define MSR_PMC0                 0xc1
#define MSR_MTRRCAP              0xfe
#define MSR_SYSENTER_CS          0x174
#define MSR_SYSENTER_ESP         0x175
#define MSR_SYSENTER_EIP         0x176
#define MSR_PERFEVTSEL0          0x186
#define MSR_MISC_ENABLE          0x1a0
#define MSR_DEBUGCTL             0x1d9
#define MSR_MTRR_PHYSBASE0       0x200
#define MSR_MTRR_PHYSMASK0       0x201
#define MSR_MTRR_FIX64K_00000    0x250
#define MSR_MTRR_FIX16K_80000    0x258
#define MSR_MTRR_FIX16K_A0000    0x259
#define MSR_MTRR_FIX4K_C0000     0x268
#define MSR_PAT                  0x277
#define MSR_MTRR_DEF_TYPE        0x2ff
#define MSR_PERF_CAPABILITIES    0x345
#define MSR_PERF_GLOBAL_STATUS   0x38e
#define MSR_PERF_GLOBAL_CTRL     0x38f
#define MSR_PERF_GLOBAL_OVF_CTRL 0x390
#define MSR_PEBS_FIRST           0x3f1
#define MSR_PEBS_LAST            0x3f7
#define MSR_VMX_BASIC            0x480
#define MSR_VMX_PINBASED_CTLS    0x481
#define MSR_VMX_PROCBASED_CTLS   0x482
#define MSR_VMX_EXIT_CTLS        0x483
#define MSR_VMX_ENTRY_CTLS       0x484
#define MSR_VMX_MISC             0x485
#define MSR_VMX_CR0_FIXED0       0x486
#define MSR_VMX_CR0_FIXED1       0x487
#define MSR_VMX_CR4_FIXED0       0x488
#define MSR_VMX_CR4_FIXED1       0x489
#define MSR_VMX_PROCBASED_CTLS2  0x48b
#define MSR_VMX_EPT_VPID_CAP     0x48c
#define MSR_VMX_TRUE_PINBASED    0x48d
#define MSR_VMX_TRUE_PROCBASED   0x48e
#define MSR_VMX_TRUE_EXIT        0x48f
#define MSR_VMX_TRUE_ENTRY       0x490
#define MSR_A_PMC0               0x4c1
#define MSR_RTIT_FIRST           0x560
#define MSR_RTIT_LAST            0x587
#define MSR_DS_AREA              0x600
#define MSR_TSC_DEADLINE         0x6e0
#define MSR_X2APIC_FIRST         0x800
#define MSR_X2APIC_LAST          0x8ff
#define MSR_EFER                 0xc0000080
#define MSR_STAR                 0xc0000081
#define MSR_LSTAR                0xc0000082
#define MSR_CSTAR                0xc0000083
#define MSR_FMASK                0xc0000084
#define MSR_FS_BASE              0xc0000100
#define MSR_GS_BASE              0xc0000101
#define MSR_KERNEL_GS_BASE       0xc0000102
#define MSR_TSC_AUX              0xc0000103

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define FEATURE_CONTROL_LOCK          BIT(0)
#define FEATURE_CONTROL_VMX_OUTSIDE   BIT(2)
#define MISC_ENABLE_PERFMON_AVAILABLE BIT(7)
#define DEBUGCTL_FREEZE_WHILE_SMM     BIT(14)

#define CR0_PE BIT(0)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_PAE     BIT(5)
#define CR4_OSFXSR  BIT(9)
#define CR4_VMXE    BIT(13)
#define CR4_PCIDE   BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMAP    BIT(21)
#define CR4_PKE     BIT(22)

#define RFLAGS_CF BIT(0)
#define RFLAGS_TF BIT(8)
#define RFLAGS_IF BIT(9)
#define RFLAGS_RF BIT(16)

#endif
