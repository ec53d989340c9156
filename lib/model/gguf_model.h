/* A model out of GGUF files: its configuration and its family's row with GGUF's names. */
#ifndef NOKEN_MODEL_GGUF_MODEL_H
#define NOKEN_MODEL_GGUF_MODEL_H

#include "model/architecture.h"
#include "model/model.h"

/* Checks that the model's shards, all of them GGUF, are the parts of one model. */
int nki_gguf_check_parts(const struct nk_model *model);

/* Sets model->config and model->own from the first shard's metadata and the tensors. An
 * architecture that the table does not have gives its matrices only. Returns NK_OK, NK_EDATA or
 * NK_EMEMORY. */
int nki_gguf_read_config(struct nk_model *model);

/* Sets model->own from the family's row (NULL: none) and the tensors; type lives as long as the
 * model. A row that does not run gives the matrices only. Returns NK_OK or NK_EMEMORY. */
int nki_gguf_make_row(struct nk_model *model, const struct nki_architecture *row, bool runs,
                      const char *type);

#endif
