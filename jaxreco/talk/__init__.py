"""How users talk: the grammar of instructions and traces, what satisfies an instruction, and English."""
