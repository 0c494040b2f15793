"""Tests of Promptmill."""
