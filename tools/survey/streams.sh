# streams
