"""A Celery application whose broker is a folder."""

from __future__ import annotations

import os

from celery import Celery

kitchen = Celery("kitchen", broker="filesystem://")
kitchen.conf.update(
    broker_transport_options={
        "data_folder_in": os.environ["TASKS"],
        "data_folder_out": os.environ["TASKS"],
        "control_folder": f"{os.environ['TASKS']}.control",
    },
    task_ignore_result=True,
)
