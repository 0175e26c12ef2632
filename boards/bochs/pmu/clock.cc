// SPDX-License-Identifier: BSD-2-Clause
// Bochs's CPU models quote the frequencies of the real chips (leaves 0x15 and 0x16), but the
// emulated TSC and LAPIC timer run at one tick an instruction, ips= of them a second. An OS that
// believes CPUID then waits 70 times too long. So wrap the model and tell the truth in those leaves,
// and in leaf 6, whose APERF, MPERF and thermal sensors the emulated chip has not.
#include "bochs.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "gui/siminterface.h"
#include "param_names.h"

#include "clock.h"

namespace {

class ClockedModel : public bx_cpuid_t {
public:
  // The base class's state is a copy; what the model overrides is asked of the model.
  ClockedModel(bx_cpuid_t *model, Bit32u hertz) : bx_cpuid_t(*model), model(model), hertz(hertz) {}

  const char *get_name(void) const override { return model->get_name(); }
  Bit32u get_vmx_extensions_bitmask(void) const override
  {
    return model->get_vmx_extensions_bitmask();
  }
  Bit32u get_svm_extensions_bitmask(void) const override
  {
    return model->get_svm_extensions_bitmask();
  }
  int rdmsr(Bit32u index, Bit64u *value) override { return model->rdmsr(index, value); }
  int wrmsr(Bit32u index, Bit64u value) override { return model->wrmsr(index, value); }
  void dump_cpuid(void) const override { model->dump_cpuid(); }

  void get_cpuid_leaf(Bit32u function, Bit32u subfunction, cpuid_function_t *leaf) const override
  {
    model->get_cpuid_leaf(function, subfunction, leaf);
    switch (function) {
    case 0x06: // ARAT: the LAPIC timer runs always
      leaf->eax = 4;
      leaf->ebx = leaf->ecx = leaf->edx = 0;
      break;
    case 0x15: // TSC = crystal * EBX / EAX
      leaf->eax = leaf->ebx = 1;
      leaf->ecx = hertz;
      break;
    case 0x16: // base, maximum and bus frequency in MHz
      leaf->eax = leaf->ebx = leaf->ecx = hertz / 1000000;
      break;
    }
  }

private:
  bx_cpuid_t *model;
  Bit32u hertz;
};

} // namespace

void clock_initialize(void)
{
  Bit32u hertz = (Bit32u)SIM->get_param_num(BXPN_IPS)->get();
  BX_CPU(0)->cpuid = new ClockedModel(BX_CPU(0)->cpuid, hertz);
}
