-- seed --
-- Made in SQL, so that the same call serves where there is no Python.
select public.generate_sample_data(%(email)s) as made;

-- unseed --
-- Only what is marked as made by seed.
select public.cleanup_test_data() as removed;
