/* Philox4x32-10. The counter is (position / 4, stream), the key is the seed: 2^56 streams of 2^66
 * words for each purpose. */
#include "base/random.h"
#include <math.h>

#include "base/clones.h"

enum { ROUNDS = 10 };

/* What the keys grow by: the golden ratio, and sqrt(3) - 1, as 32-bit fractions. */
static const uint32_t STEP0 = 0x9E3779B9, STEP1 = 0xBB67AE85;

/* One round. */
static inline void mix(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                       uint32_t k1) {
  uint64_t p0 = (uint64_t)0xD2511F53u * *c0, p1 = (uint64_t)0xCD9E8D57u * *c2;
  *c0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
  *c2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
  *c1 = (uint32_t)p1;
  *c3 = (uint32_t)p0;
}

void nki_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < ROUNDS; round++) {
    mix(&c0, &c1, &c2, &c3, k0, k1);
    k0 += STEP0;
    k1 += STEP1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

struct nki_random nki_random_stream(uint64_t seed, enum nki_random_purpose purpose,
                                    uint64_t index) {
  uint64_t stream = (uint64_t)purpose << 56 | (index & UINT64_MAX >> 8);
  return (struct nki_random){.seed = seed, .stream = stream, .position = 0};
}

static void block_at(const struct nki_random *random, uint64_t block, uint32_t out[4]) {
  const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)random->stream,
                               (uint32_t)(random->stream >> 32)};
  const uint32_t key[2] = {(uint32_t)random->seed, (uint32_t)(random->seed >> 32)};
  nki_philox(counter, key, out);
}

/* The next n words; each block is made once. */
static inline void take(struct nki_random *random, size_t n, uint32_t *out) {
  uint32_t block[4];
  for (size_t i = 0; i < n; i++, random->position++) {
    if (i == 0 || random->position % 4 == 0) block_at(random, random->position / 4, block);
    out[i] = block[random->position % 4];
  }
}

static uint64_t join(const uint32_t words[2]) {
  return words[0] | (uint64_t)words[1] << 32;
}

uint32_t nki_random_u32(struct nki_random *random) {
  uint32_t word;
  take(random, 1, &word);
  return word;
}

uint64_t nki_random_u64(struct nki_random *random) {
  uint32_t words[2];
  take(random, 2, words);
  return join(words);
}

double nki_random_uniform(struct nki_random *random) {
  return (double)(nki_random_u64(random) >> 11) * 0x1p-53;
}

uint64_t nki_random_below(struct nki_random *random, uint64_t n) {
  uint64_t reject = (0 - n) % n; /* 2^64 mod n: the numbers below it would be one too often */
  uint64_t r;
  do r = nki_random_u64(random);
  while (r < reject);
  return r % n;
}

static double normal_of(const uint32_t words[4]) {
  uint64_t a = join(words) >> 11, b = join(words + 2) >> 11;
  double u = ((double)a + 1.0) * 0x1p-53; /* (0, 1]: its logarithm is finite */
  double angle = 6.283185307179586476925 * (double)b * 0x1p-53;
  return sqrt(-2.0 * log(u)) * cos(angle);
}

double nki_random_normal(struct nki_random *random) {
  uint32_t words[4];
  take(random, 4, words);
  return normal_of(words);
}

/* BLOCKS blocks side by side: the rounds of one wait for each other. */
enum { BLOCKS = 16 };

NKI_CLONES static void take_blocks(const struct nki_random *random, uint32_t out[BLOCKS][4]) {
  uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
  uint32_t k0 = (uint32_t)random->seed, k1 = (uint32_t)(random->seed >> 32);
  for (size_t b = 0; b < BLOCKS; b++) {
    uint64_t block = random->position / 4 + b;
    c0[b] = (uint32_t)block;
    c1[b] = (uint32_t)(block >> 32);
    c2[b] = (uint32_t)random->stream;
    c3[b] = (uint32_t)(random->stream >> 32);
  }
  for (int round = 0; round < ROUNDS; round++) {
    for (size_t b = 0; b < BLOCKS; b++) mix(&c0[b], &c1[b], &c2[b], &c3[b], k0, k1);
    k0 += STEP0;
    k1 += STEP1;
  }
  for (size_t b = 0; b < BLOCKS; b++) {
    out[b][0] = c0[b];
    out[b][1] = c1[b];
    out[b][2] = c2[b];
    out[b][3] = c3[b];
  }
}

void nki_random_normals(struct nki_random *random, size_t n, double *out) {
  size_t i = 0;
  for (; random->position % 4 == 0 && i + BLOCKS <= n; i += BLOCKS) {
    uint32_t words[BLOCKS][4];
    take_blocks(random, words);
    for (size_t b = 0; b < BLOCKS; b++) out[i + b] = normal_of(words[b]);
    random->position += (uint64_t)4 * BLOCKS;
  }
  for (; i < n; i++) out[i] = nki_random_normal(random);
}

void nki_random_permutation(struct nki_random *random, size_t n, size_t *order) {
  for (size_t i = 0; i < n; i++) order[i] = i;
  for (size_t i = n; i > 1; i--) {
    size_t j = (size_t)nki_random_below(random, i);
    size_t swap = order[i - 1];
    order[i - 1] = order[j];
    order[j] = swap;
  }
}
