#include "dma/profile.h"

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const struct dma_profile *dma_profile_by_name(const char *name)
{
    for (u32 i = 0; i < dma_profile_count; i++) {
        if (same_text(dma_profiles[i].name, name)) {
            return &dma_profiles[i];
        }
    }
    return NULL;
}

const struct dma_profile *dma_profile_by_id(u16 vendor, u16 device, u32 class_code)
{
    for (u32 i = 0; i < dma_profile_count; i++) {
        const struct dma_profile *profile = &dma_profiles[i];

        for (u32 j = 0; profile->vendor == vendor && j < profile->device_count; j++) {
            if (profile->devices[j] == device) {
                return profile;
            }
        }
    }
    for (u32 i = 0; i < dma_profile_count; i++) {
        if (class_code != 0 && dma_profiles[i].class_code == class_code) {
            return &dma_profiles[i];
        }
    }
    return NULL;
}
