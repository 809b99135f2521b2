"""The answer sweep: every request of every flow gets every answer that the real store can give.

    sweep -> trials -> flows -> simulation (the real core, the real provisioner, a turned clock)
               |                    `-> injector, in the proxy before the store's server
               `-> invariants
    catalogue: the answers, from `<store>.toml`; adapter: what the sweep has to know of a store

The framework knows no store. A store brings a data file and an adapter; `registry` lists them.
"""
