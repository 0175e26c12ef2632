/* The monitor's image: linked at the board's monitor_base, one section group a protection. */
OUTPUT_FORMAT(elf64-x86-64)
ENTRY(entry32)
PHDRS
{
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    data PT_LOAD FLAGS(6);
}
SECTIONS
{
    . = MONITOR_BASE;
    image_start = .;
    .text : { text_start = .; KEEP(*(.multiboot2)) *(.text.entry) *(.text .text.*) } :text
    . = ALIGN(4096);
    text_end = .;
    .rodata : { rodata_start = .; *(.rodata .rodata.*) } :rodata
    . = ALIGN(4096);
    rodata_end = .;
    .data : { data_start = .; *(.data .data.*) } :data
    .bss : { *(.bss.stacks) *(.bss.boot) *(.bss .bss.*) *(COMMON) } :data
    . = ALIGN(4096);
    image_end = .;
    /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) }
}
