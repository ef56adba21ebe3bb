"""What every package may use: the database, the current tenant, access, forms, the registry, the clock.

Owns no table and names no area of the CRM; imports nothing of ours from outside this package.
"""
