/* What the files of the module noken/llama.so share. */
#ifndef NOKEN_FORWARD_LLAMA_DEVICES_H
#define NOKEN_FORWARD_LLAMA_DEVICES_H

#include <ggml-backend.h>

#include "forward/llama.h"

enum { NKI_MOST_DEVICES = 64 };

struct nki_llama_devices {
  ggml_backend_dev_t item[NKI_MOST_DEVICES + 1]; /* closed by NULL */
  size_t n;
};

/* The devices of the servers, or else the GPUs, that are asked for; none: the processor. NK_OK or a
 * negative code. */
int nki_llama_find_devices(const struct nki_llama_open *how, struct nki_llama_devices *devices);

#endif
