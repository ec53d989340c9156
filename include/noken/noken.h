/* noken: analysis of token embeddings. This header includes all of the library's. */
#ifndef NOKEN_NOKEN_H
#define NOKEN_NOKEN_H

#include <noken/behaviour.h>
#include <noken/behaviour_table.h>
#include <noken/buffer.h>
#include <noken/conformal.h>
#include <noken/convert.h>
#include <noken/dtype.h>
#include <noken/error.h>
#include <noken/evaluation.h>
#include <noken/extract.h>
#include <noken/file.h>
#include <noken/forward.h>
#include <noken/gaussian.h>
#include <noken/gguf.h>
#include <noken/gguf_write.h>
#include <noken/glitch.h>
#include <noken/knn.h>
#include <noken/memory.h>
#include <noken/metric.h>
#include <noken/model.h>
#include <noken/moments.h>
#include <noken/npy.h>
#include <noken/options.h>
#include <noken/pca.h>
#include <noken/plot.h>
#include <noken/prompt.h>
#include <noken/random.h>
#include <noken/region.h>
#include <noken/report.h>
#include <noken/safetensors.h>
#include <noken/sample.h>
#include <noken/table.h>
#include <noken/threads.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>
#include <noken/verify.h>
#include <noken/vocabulary.h>

#endif
