/* A model as a folder that Hugging Face Transformers and these tools open. */
#ifndef CLI_MODEL_FOLDER_H
#define CLI_MODEL_FOLDER_H

#include <noken/model.h>

/* Whether cli_write_model_folder can begin: NK_OK or its code, for a caller with long work before
 * it. */
int cli_check_model_folder(const struct nk_model *model, const char *folder);

/* Writes model.safetensors into a new folder, or an empty one, with the configuration, tokenizer
 * and code files of the model's own folder as they are. The folder is made beside its place under
 * another name, and gets its own when it is complete. Returns NK_OK; NK_EUSAGE where the folder is
 * not empty; NK_EUNSUPPORTED for a model that is not a folder; or another negative code. */
int cli_write_model_folder(const struct nk_model *model,
                           const struct nk_model_write_options *options, const char *folder);

#endif
