/* What the fuzzing harnesses share. A harness fuzz_NAME.c hands one hostile input to one reader and
 * then uses all of what came back. Entry point and meaning are libFuzzer's, so that the same files
 * serve driver.c (mutations without coverage, gcc) and clang's -fsanitize=fuzzer. */
#ifndef NOKEN_FUZZ_H
#define NOKEN_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Pieces that mutations put into an input, ended by NULL: keys and values of the format. */
extern const char *const fuzz_words[];

/* The path of a file in memory that holds data; valid until the next call with the same slot
 * (0 to 3). */
const char *fuzz_file(int slot, const void *data, size_t size);

/* Watches the memory that is allocated between the two calls: more than a small multiple of the
 * input's size, as live bytes, aborts. */
void fuzz_memory_begin(size_t input_size);
void fuzz_memory_end(void);

/* Keeps a value from being optimized away, and so its bytes from never being read. */
void fuzz_use(const void *bytes, size_t n);

#endif
