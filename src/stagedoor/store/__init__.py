"""Durable state (records), object bytes (contents) and log events. Blocking; called from operation threads."""
