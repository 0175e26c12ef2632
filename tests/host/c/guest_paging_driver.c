/*
 * Test driver for core/guest_paging.c. Standard input: the number of bytes of guest memory (u64),
 * that memory, then queries. Standard output: one reply for each query.
 * tests/host/test_guest_paging.py has the layouts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/guest_paging.h"

struct query {
    u64 cr0, cr3, cr4, efer;
    u64 pdpte[4];
    u64 linear;
    u32 pkru;
    u32 access;
    u8 use_pdpte;
    u8 maxphyaddr;
    u8 user;
    u8 rflags_ac;
    u8 unused[4];
};

struct reply {
    s32 result;
    u32 pf_error;
    u64 gpa;
};

struct memory {
    u8 *bytes;
    u64 size;
};

static int read_memory(void *ctx, u64 gpa, void *buf, size_t n)
{
    const struct memory *memory = ctx;

    if (gpa > memory->size || memory->size - gpa < n)
        return ERR_FAULT;
    memcpy(buf, memory->bytes + gpa, n);
    return 0;
}

static void answer(const struct query *query, const struct guest_phys_ops *ops)
{
    struct guest_paging paging = {
        .cr0 = query->cr0,
        .cr3 = query->cr3,
        .cr4 = query->cr4,
        .efer = query->efer,
        .pdpte = query->use_pdpte ? query->pdpte : NULL,
        .pkru = query->pkru,
        .maxphyaddr = query->maxphyaddr,
        .user = query->user,
        .rflags_ac = query->rflags_ac,
    };
    struct reply reply = {0};

    reply.result =
        guest_translate(&paging, query->linear, query->access, ops, &reply.gpa, &reply.pf_error);
    fwrite(&reply, sizeof(reply), 1, stdout);
}

int main(void)
{
    struct memory memory = {0};
    struct guest_phys_ops ops = {.read = read_memory, .ctx = &memory};
    struct query query;

    if (fread(&memory.size, sizeof(memory.size), 1, stdin) != 1)
        return 2;
    memory.bytes = malloc(memory.size);
    if (!memory.bytes || fread(memory.bytes, memory.size, 1, stdin) != 1)
        return 2;
    while (fread(&query, sizeof(query), 1, stdin) == 1)
        answer(&query, &ops);
    free(memory.bytes);
    return 0;
}
