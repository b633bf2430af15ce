"""Subscriptions: matching, notifications, delivery from the outbox."""
