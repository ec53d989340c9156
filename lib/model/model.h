/* A model opened: what the files of lib/model share. */
#ifndef NOKEN_MODEL_MODEL_H
#define NOKEN_MODEL_MODEL_H

#include <jansson.h>
#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/gguf.h"
#include "model/safetensors.h"
#include "model/shard_index.h"

/* Where a model's files are (model_files.c). Every string is from nk_alloc. */
struct nki_model_files {
  char *name;   /* as the user named it, without directories */
  char *folder; /* NULL for a single file */
  char **files; /* [n_files] paths of the folder's entries, sorted */
  size_t n_files;
  char **shards; /* [n_shards] paths of the files that hold the weights */
  size_t n_shards;
  struct nki_shard_index index; /* of a sharded model */
};

/* Finds them. Returns NK_OK or a negative code; call nki_model_files_free in either case. */
int nki_model_files_find(const char *model, struct nki_model_files *files);
/* The same without looking for weights in a folder. */
int nki_model_files_locate(const char *model, struct nki_model_files *files);
void nki_model_files_free(struct nki_model_files *files);
/* The path of the folder's entry called `file`, or NULL. */
const char *nki_model_files_path(const struct nki_model_files *files, const char *file);

/* Parts of a model that upper layers open when they are first asked for, and the model frees. */
enum nki_model_part { NKI_MODEL_TOKENIZER, NKI_MODEL_ENGINE, NKI_MODEL_FORWARD, NKI_N_MODEL_PARTS };

struct nki_model_slot {
  void *object; /* NULL: not open */
  void (*free)(void *object);
};

struct nki_architecture;

/* A file of weights: one of the two. */
struct nki_shard {
  struct nki_safetensors *safetensors;
  struct nki_gguf *gguf;
};

/* A tensor with other values (values.c). */
struct nki_values {
  struct nk_tensor *tensor; /* that the model and its forward pass have */
  struct nk_tensor file;    /* as it is in the file */
  size_t group;             /* a tensor and its copies */
  bool in_use;              /* it has them now */
};

struct nk_model {
  char *source; /* as the user named it */
  struct nki_model_files files;
  json_t *config;                   /* config.json, or what a GGUF says instead; or NULL */
  struct nki_architecture *own;     /* of a GGUF: its family's row of the table, as it is there */
  struct nki_shard *shards;         /* [files.n_shards] */
  const struct nk_tensor **tensors; /* [n_tensors] in the order of shards and bytes */
  const struct nk_tensor **by_name; /* [n_tensors] sorted by name */
  size_t n_tensors;
  struct nki_values *values; /* [n_values] of all tensors that ever had other values */
  size_t n_values;
  const char **used; /* [n_used] paths of the files that are read (describe.c) */
  size_t n_used;
  bool *warned; /* of how the output matrix was chosen: once a model */
  struct nki_model_slot parts[NKI_N_MODEL_PARTS];
};

/* The tensor called name, or NULL without an error. */
const struct nk_tensor *nki_model_look_up(const struct nk_model *model, const char *name);

/* How many of the shards that the index names are missing. */
static inline size_t nki_model_n_missing(const struct nk_model *model) {
  size_t n = model->files.index.n_shards;
  return n > model->files.n_shards ? n - model->files.n_shards : 0;
}

/* NK_ENOTFOUND for a tensor that no shard holds, with the shard that the index names. */
int nki_model_fail_absent(const struct nk_model *model, const char *name);

/* Path of a file of the model's folder ("tokenizer.json"). NULL, without an error, when it is not
 * there or the model is a single file. */
const char *nki_model_path(const struct nk_model *model, const char *file);

/* model->used. NK_OK or NK_EMEMORY. */
int nki_model_list_files(struct nk_model *model);
/* Whether the tensor is a weight: older checkpoints of GPT-2 and others hold causal masks
 * [1, 1, n, n] with the value under them, and tables of rotary frequencies. */
bool nki_is_weight(const struct nk_tensor *tensor);

/* The other one of two tied matrices that a file holds twice, where the tensor is one of them; else
 * NULL without an error. */
const struct nk_tensor *nki_model_copy(const struct nk_model *model,
                                       const struct nk_tensor *tensor);
/* The tensor's other values, where it has them now; else NULL. */
const struct nki_values *nki_model_values(const struct nk_model *model,
                                          const struct nk_tensor *tensor);

/* nk_model_write, of safetensors (safetensors_write.c). */
int nki_model_write_safetensors(const struct nk_model *model,
                                const struct nk_model_write_options *options,
                                struct nk_output *output);

#endif
