# likeness
