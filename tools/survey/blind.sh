# blind
