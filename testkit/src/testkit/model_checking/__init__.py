"""A state explorer over the real core: all interleavings of all actors, up to a stated bound.

scenarios -> search -> moves -> core (the real one, resumed)
              |          `----> api_server, object_store (pure functions)
              `-> invariants
"""
