// Loaded with LD_PRELOAD: CPUID faults, and the handler answers as a processor with AVX2 and nothing wider.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012, FEATURES = 7, AMX_TILES = 0x1d, AMX_PRODUCTS = 0x1e, AVX10 = 0x24 };

static long allow_cpuid(long allowed) {
    // Holds for this thread and for those that it starts.
    return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed);
}

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (instruction[0] != 0x0f || instruction[1] != 0xa2) {
        signal(SIGSEGV, SIG_DFL);  // Another fault. It occurs again, and ends the process.
        return;
    }
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    allow_cpuid(1);
    __cpuid_count(leaf, part, a, b, c, d);
    allow_cpuid(0);
    if (leaf == FEATURES && part == 0) {
        b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);  // AVX-512
        c &= ~(1u << 1 | 1u << 6 | 1u << 8 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 14);  // VBMI, VNNI
        d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);  // AMX, AVX512-FP16
    } else if (leaf == FEATURES || leaf == AMX_TILES || leaf == AMX_PRODUCTS || leaf == AVX10) {
        a = b = c = d = 0;  // AVX-VNNI, bf16
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    if (allow_cpuid(0)) {
        fputs("error: this kernel or processor cannot make CPUID fault\n", stderr);
        exit(77);
    }
}
