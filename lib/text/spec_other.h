/* Tokenizers in other files than tokenizer.json and GGUF, as specs. Each function fills a spec that
 * has its name and max_id, and returns NK_OK or a negative code. */
#ifndef NOKEN_TEXT_SPEC_OTHER_H
#define NOKEN_TEXT_SPEC_OTHER_H

#include "text/spec.h"

/* SentencePiece's protobuf (tokenizer.model): BPE or Unigram. */
int nki_spec_read_sentencepiece(struct nki_spec *spec, const struct nk_file *file);

/* GPT-2's vocab.json, with the merges.txt beside it. */
int nki_spec_read_merges_file(struct nki_spec *spec, const struct nk_file *vocab,
                              const struct nk_file *merges);

/* BERT's vocab.txt: a token a line. */
int nki_spec_read_lines(struct nki_spec *spec, const struct nk_file *file);

/* tiktoken's lines "base64 rank". Special tokens are not in the file. */
int nki_spec_read_tiktoken(struct nki_spec *spec, const struct nk_file *file);
bool nki_spec_is_tiktoken(const struct nk_file *file);

/* Mistral's tekken.json. */
int nki_spec_read_tekken(struct nki_spec *spec, const struct nk_file *file);

#endif
