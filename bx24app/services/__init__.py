"""The use cases: plain functions that own their transactions and know neither requests nor statuses."""
