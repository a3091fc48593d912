drop table public.model_prices;
drop function public.chopsky_check_model_price();
