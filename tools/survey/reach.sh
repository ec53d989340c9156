# reach
