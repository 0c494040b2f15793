"""Placeholder until the report lands."""


class ReportData:
    accuracy = None

    def __init__(self, job): ...
    def add(self, rows, answers): ...


def render_report(job, manifest, data, limits):
    return "<html></html>"
