"""How the town, its data sets and the base model are made."""

import ftlib  # noqa: F401  # before torch: it says how threads wait
