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
    /* The canaries' values are in docs/robustness.md; tests look whether they are alive. */
    .data : {
        data_start = .;
        canary_first = .; QUAD(0x7972616e61632d31)
        *(.data .data.*)
        . = ALIGN(8);
        canary_last = .; QUAD(0x7972616e61632d32)
    } :data
    .bss : { *(.bss.stacks) *(.bss.boot) *(.bss .bss.*) *(COMMON) } :data
    . = ALIGN(4096);
    image_end = .;
    /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) }
}
