// SPDX-License-Identifier: BSD-2-Clause
// Guest RAM survives the emulator and can be read while it runs: the one allocation that Bochs makes
// for RAM and ROM becomes a shared mapping of the file LVMM_RAM_FILE. It is recognised by its size:
// LVMM_RAM_MIN bytes or more.
#include "bochs.h"
#include "cpu/cpu.h"
#include "memory/memory-bochs.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

#include "ram.h"

static void *ram;
static size_t ram_size;

static bool is_ram(size_t size)
{
  const char *minimum = getenv("LVMM_RAM_MIN");
  return !ram && minimum && getenv("LVMM_RAM_FILE") && size >= strtoull(minimum, NULL, 0);
}

static void *map_ram(size_t size)
{
  const char *path = getenv("LVMM_RAM_FILE");
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  void *map = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) {
    fprintf(stderr, "lvmm: cannot map guest memory from %s: %s\n", path, strerror(errno));
    exit(1);
  }
  close(fd);
  // Else the host reads megabytes ahead around each page that is touched, and fills them with zeros.
  madvise(map, size, MADV_RANDOM);
  ram = map;
  ram_size = size;
  return map;
}

void *operator new[](size_t size)
{
  if (is_ram(size))
    return map_ram(size);
  void *memory = malloc(size ? size : 1);
  if (!memory)
    throw std::bad_alloc();
  return memory;
}

void operator delete[](void *memory) noexcept
{
  if (memory && memory == ram) {
    munmap(ram, ram_size);
    ram = NULL;
    return;
  }
  free(memory);
}

void operator delete[](void *memory, size_t) noexcept
{
  operator delete[](memory);
}

// Bochs hands out its memory blocks in the order of their first use, so use them in ascending order.
// Nothing is read or written: the file stays sparse.
void ram_initialize(void)
{
  if (!ram)
    return;
  const Bit64u step = 4096; // no block is smaller
  for (Bit64u address = 0; address < BX_MEM(0)->get_memory_len(); address += step) {
    if (BX_MEM(0)->get_vector(address) != (Bit8u *)ram + address) {
      fprintf(stderr, "lvmm: physical address 0x%llx is not at its place in the memory file\n",
              (unsigned long long)address);
      exit(1);
    }
  }
}
