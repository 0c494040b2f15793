"""The prompt of the first row that a run would send, as `check` shows it."""

from promptmill.cell_values import rows_of
from promptmill.dataset.unreadable import UNREADABLE
from promptmill.planning.chunk_size import USUAL_ROWS
from promptmill.planning.plan import Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.planning.rendering import needed_columns, render_table, row_ids
from promptmill.prompts.shown_prompt import ShownMessage, shown_messages
from promptmill.records import Request


def first_prompt(prepared: Prepared, plan: Plan) -> list[ShownMessage]:
    """The messages of the plan's first request; none where no row can be sent. It reads the rows up to that one."""
    job, builder, first = prepared.job, prepared.builder, plan.first_request
    if first is None:
        return []
    number = 0
    for table in prepared.dataset.read(USUAL_ROWS, needed_columns(builder, job)):
        ids = row_ids(table, job.input.id_column, range(number, number + table.num_rows))
        for place in range(table.num_rows):
            row = table.slice(place, 1)
            rendered = render_table(builder, row, ids[place : place + 1], number + place)[0]
            if isinstance(rendered, Request) and rendered.custom_id == first.custom_id:
                values = rows_of(row.drop_columns([UNREADABLE] if UNREADABLE in row.column_names else []), number)[0]
                return shown_messages(job.request, prepared.dataset.schema.names, values)
        number += table.num_rows
    return []
