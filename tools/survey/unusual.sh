# unusual
