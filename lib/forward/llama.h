/* What libnoken and the module that binds llama.cpp know of each other. The module is a shared
 * library of its own, noken/llama.so, that libnoken loads when llama.cpp is to run a model: so
 * libnoken needs llama.cpp neither to be built nor to be started, and a package of the module can
 * follow llama.cpp's releases, whose structs change. The module calls nothing of libnoken but what
 * it is given here.
 *
 * Rows, sequences and layers are those of forward/batch.h. Sequence 0 is the prefix. */
#ifndef NOKEN_FORWARD_LLAMA_H
#define NOKEN_FORWARD_LLAMA_H

#include <noken/forward.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NKI_LLAMA_SYMBOL "noken_llama_module"
enum { NKI_LLAMA_VERSION = 2 }; /* of this interface */

struct nki_llama; /* a model that llama.cpp has loaded: the module's */

struct nki_llama_open {
  const char *path; /* of the GGUF file, or of the first of its parts */
  size_t n_gpu_layers;
  const char *rpc; /* HOST:PORT,.. or NULL */
  bool check;      /* read the metadata alone: only free may follow */
  int (*fail)(int code, const char *format, ...) NK_PRINTF(2, 3); /* nk_fail */
  void (*warn)(const char *format, ...) NK_PRINTF(1, 2);          /* nk_warn */
};

struct nki_llama_facts {
  char architecture[64];
  struct nk_forward_shape shape; /* its architecture is not set */
  size_t n_tokens;               /* rows of the input embedding */
  size_t most_sequences;         /* at once, the prefix included */
  bool one_by_one;               /* a pass has rows of one sequence only (recurrent models) */
  bool *layers;                  /* [n_layers + 1] which streams llama.cpp's graph has */
  char other_lookup[64]; /* a tensor beside the embedding that ids are looked up in, or "" */
};

struct nki_llama_room {
  size_t n_cells;     /* keys and values */
  size_t n_sequences; /* the prefix included */
  size_t n_rows;      /* at once */
  size_t n_threads;
};

/* Rows that are computed at once. */
struct nki_llama_rows {
  size_t n;
  const int32_t *ids, *positions, *sequences; /* [n] */
  const int8_t *outputs; /* [n] whose logits, and stream at n_layers, are read */
  const bool *layers;    /* [n_layers + 1] to be visited */
  /* x [n_x, dim] is the stream at a layer: all rows, or at n_layers perhaps those of outputs. True
   * when it was changed. */
  bool (*visit)(void *user, size_t layer, float *x, size_t n_x);
  void *user;
  float *logits; /* [outputs, n_vocabulary] */
};

/* Functions that return int: NK_OK or a negative code, with the message set by `fail`. */
struct nki_llama_module {
  int version;
  /* NULL on failure. */
  struct nki_llama *(*open)(const struct nki_llama_open *how);
  void (*free)(struct nki_llama *llama);
  const struct nki_llama_facts *(*facts)(const struct nki_llama *llama);
  /* Makes room for what is needed, and forgets all sequences. */
  int (*prepare)(struct nki_llama *llama, const struct nki_llama_room *room);
  /* Forgets sequences [first, end). */
  void (*forget)(struct nki_llama *llama, size_t first, size_t end);
  /* The prefix's keys and values become those of a sequence, too. */
  void (*share)(struct nki_llama *llama, size_t sequence);
  int (*decode)(struct nki_llama *llama, const struct nki_llama_rows *rows);
  /* out [n, dim] = rows [first, first + n) of the input embedding. */
  void (*embeddings)(const struct nki_llama *llama, size_t first, size_t n, float *out);
};

#endif
