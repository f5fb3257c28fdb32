"""LoRA adapters made here: two small tasks, three variants, in the folder format of PEFT."""
